"""Prints the output of the `phi` command."""

import sys
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from phi_assets.graph.staleness import AssetState

COLOURS = {"fresh": "green", "observed": "cyan", "missing": "yellow", "stale": "yellow", "blocked": "red"}
console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def say(who: str, words: str) -> None:
    """Print progress, one line each: the time, the asset, and the message."""
    for line in words.rstrip().splitlines():
        console.print(Text.assemble((time.strftime("%H:%M:%S "), "dim"), (f"{who:<22} ", "cyan"), line))


def quiet(words: str) -> None:
    """Discard progress, for a command that prints only a report."""
    del words


def show_states(states: Mapping[str, AssetState]) -> None:
    """Print for every asset what exists, since when, and whether it is fresh."""
    table = Table(title="assets", title_justify="left")
    for column in ("asset", "group", "status", "since", "what exists", "why"):
        table.add_column(column, overflow="fold")
    for state in states.values():
        table.add_row(
            state.name,
            state.group,
            Text(state.status, style=COLOURS[state.status]),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(state.since)) if state.since else "",
            what_exists(state),
            "; ".join(state.reasons),
        )
    console.print(table)


def show_outcomes(states: Mapping[str, AssetState], seconds: Mapping[str, float], failed: Sequence[str]) -> None:
    """Print for every asset whether this call materialised it, in how many seconds, and what exists now."""
    table = Table(title="outcome", title_justify="left")
    for column in ("asset", "outcome", "seconds", "what exists now"):
        table.add_column(column, overflow="fold", justify="right" if column == "seconds" else "left")
    for state in states.values():
        outcome = _outcome(state, seconds, failed)
        took = f"{seconds[state.name]:.1f}" if state.name in seconds else ""
        table.add_row(state.name, outcome, took, what_exists(state))
    console.print(table)


def what_exists(state: AssetState) -> str:
    """Return one line that describes an asset's record."""
    record = state.record
    if record is None:
        return ""
    parts = [f"{getattr(record, name)}" for name in ("name", "source", "version", "preset") if hasattr(record, name)]
    rows = getattr(record, "rows", None)
    if rows:
        parts.append(", ".join(f"{count} {split}" for split, count in rows.items()))
    return " ".join([*parts, f"({record.digest[:12]})"])


def _outcome(state: AssetState, seconds: Mapping[str, float], failed: Sequence[str]) -> str:
    if state.name in failed:
        return "failed"
    if state.name in seconds:
        return "materialised"
    return {"fresh": "up to date", "observed": "observed"}.get(state.status, state.status)
