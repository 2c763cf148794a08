"""`phi preflight`: what to mend before a run, and what to know."""

import dataclasses
import json

from rich.table import Table
from rich.text import Text

from phi_assets.backends import build_resources
from phi_assets.operate.screen import console, quiet
from phi_assets.settings import Settings

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}
NOTHING = "nothing to look at: PHI_BACKEND=local runs on this machine, and asks no cloud for anything"


def preflight(settings: Settings, *, as_json: bool) -> int:
    """0 when nothing would stop a run, else 1."""
    port = build_resources(settings).get("preflight")
    if port is None:
        print(json.dumps([]) if as_json else NOTHING)
        return 0
    found = port.look(quiet)
    problems = sum(each.verdict == "problem" for each in found)
    if as_json:
        print(json.dumps([dataclasses.asdict(each) for each in found], ensure_ascii=False, indent=2))
        return 1 if problems else 0
    table = Table(title="preflight", title_justify="left")
    for column in ("verdict", "subject", "found", "what to do"):
        table.add_column(column, overflow="fold")
    for each in found:
        verdict = Text(each.verdict, style=COLOURS[each.verdict])
        table.add_row(verdict, each.subject, Text(each.description), Text(each.cure))
    console.print(table)
    console.print(f"{problems} to mend first" if problems else "nothing stands in the way of `phi run`")
    return 1 if problems else 0
