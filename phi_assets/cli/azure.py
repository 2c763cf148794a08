"""`phi preflight`: what to mend before a run, and what to know."""

import dataclasses
import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from phi_assets.backends.select import build_resources
from phi_assets.cli.console import console, quiet
from phi_assets.ports.operations import Diagnosis
from phi_assets.settings import Settings

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red", "unseen": "yellow"}
NOTHING = "nothing to look at: PHI_BACKEND=local runs on this machine, and asks no cloud for anything"


def preflight(settings: Settings, *, as_json: bool) -> int:
    """0 when all was looked at and nothing would stop a run, else 1."""
    port = build_resources(settings).get("preflight")
    if port is None:
        print(json.dumps([]) if as_json else NOTHING)
        return 0
    found = port.look(quiet)
    lacking = summary(found)
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in found], ensure_ascii=False, indent=2))
        return 1 if lacking else 0
    table = Table(title="preflight", title_justify="left")
    for column in ("verdict", "subject", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for each in found:
        verdict = Text(each.verdict, style=COLOURS[each.verdict])
        table.add_row(verdict, each.subject, Text(each.description), Text(each.cure))
    console.print(table)
    console.print(lacking or "nothing stands in the way of `phi run`")
    return 1 if lacking else 0


def summary(found: Sequence[Diagnosis]) -> str:
    """What is not well yet; empty when all was looked at and there is no problem."""
    problems = sum(each.verdict == "problem" for each in found)
    unseen = sum(each.verdict == "unseen" for each in found)
    parts = [f"{problems} to mend first"] if problems else []
    if unseen:
        first = "mend what is said above" if problems else "register what is said above"
        parts.append(f"{unseen} could not be looked at yet: {first}, and look again")
    return "; ".join(parts)
