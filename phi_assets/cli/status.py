"""`phi status`: shows what exists, since when, fresh or stale and why, and what would run."""

import dataclasses
import time
from collections.abc import Mapping

from phi_assets.cli.console import print_field, print_json
from phi_assets.cli.tables import Column, print_table
from phi_assets.graph import staleness
from phi_assets.graph.staleness import AssetState
from phi_assets.instance import home, server
from phi_assets.instance.retraining_due import is_due
from phi_assets.settings import Settings

COLOURS = {"fresh": "green", "observed": "cyan", "missing": "yellow", "stale": "yellow", "blocked": "red"}
COLUMNS = (
    Column("asset"),
    Column("group", optional=True),
    Column("status", styles=COLOURS),
    Column("since"),
    Column("what exists", text=True),
    Column("why", text=True),
)
LABEL = 10


def show(settings: Settings, *, as_json: bool) -> int:
    """Return 0 when every asset is fresh, else 1. Observes nothing and starts nothing."""
    from phi_assets.definitions import definitions

    graph = definitions()
    with home.instance(settings) as instance:
        states = staleness.asset_states(instance, graph)
        retraining = is_due(instance, settings, graph.resources or {}).decision
    wave = staleness.next_assets(states)
    endpoint = (graph.resources or {})["endpoint_host"].status()
    ui = server.find(settings)
    if as_json:
        assets = [
            {**dataclasses.asdict(state), "record": state.record and dataclasses.asdict(state.record)}
            for state in states.values()
        ]
        answer = {
            "assets": assets,
            "would_run": wave,
            "retraining": dataclasses.asdict(retraining),
            "endpoint": endpoint,
            "ui": ui.address if ui else None,
        }
        print_json(answer)
    else:
        show_states(states)
        print_field("would run", ", ".join(wave) or "nothing", width=LABEL)
        print_field("retraining", f"{'due' if retraining.start else 'not due'}: {retraining.reason}", width=LABEL)
        address = endpoint["address"] or "none yet"
        print_field("endpoint", f"{address}{'' if endpoint['alive'] else ' (not running)'}", width=LABEL)
        print_field("UI", ui.address if ui else "not running", width=LABEL)
    return 0 if all(state.status in ("fresh", "observed") for state in states.values()) else 1


def show_states(states: Mapping[str, AssetState]) -> None:
    """Print for every asset what exists, since when, and whether it is fresh."""
    rows = (
        (
            state.name,
            state.group,
            state.status,
            time.strftime("%Y-%m-%d %H:%M", time.localtime(state.since)) if state.since else "",
            what_exists(state),
            "; ".join(state.reasons),
        )
        for state in states.values()
    )
    print_table("assets", COLUMNS, rows)


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
