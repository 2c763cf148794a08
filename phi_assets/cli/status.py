"""`phi status`: shows what exists, since when, fresh or stale and why, and what would run."""

import dataclasses
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress

import dagster as dg

from phi_assets import databases
from phi_assets.cli.console import print_field, print_json
from phi_assets.cli.parts import Parts
from phi_assets.cli.tables import Column, print_table
from phi_assets.graph import staleness
from phi_assets.graph.adoption import differences
from phi_assets.graph.staleness import AssetState
from phi_assets.instance import dagster_record, home
from phi_assets.instance.retraining_due import is_due
from phi_assets.instance.storage_copy import snapshot
from phi_assets.models.retraining_policy import Decision
from phi_assets.settings import Settings

COLOURS = {
    "fresh": "green",
    "observed": "cyan",
    "missing": "yellow",
    "stale": "yellow",
    "blocked": "red",
    "unknown": "red",
}
COLUMNS = (
    Column("asset"),
    Column("group", optional=True),
    Column("status", styles=COLOURS),
    Column("since"),
    Column("what exists", text=True),
    Column("why", text=True),
)
LABEL = 10
UNKNOWN = "not known, because it cannot be read"


def show(settings: Settings, *, as_json: bool) -> int:
    """Return 0 when every asset is fresh, else 1. Observes nothing and starts nothing.

    What cannot be read is a line on stderr, and the rest is shown.
    """
    from phi_assets.definitions import definitions

    graph = definitions()
    parts = Parts(settings.home)
    states, retraining, differing = _judged(settings, graph, parts)
    wave = staleness.next_assets(states)
    host = (graph.resources or {})["endpoint_host"]
    endpoint = parts.read("endpoint", host.status, {"address": None, "alive": False})
    recorded = parts.read("UI", lambda: dagster_record.read(settings), None)
    parts.read("answers and messages", lambda: databases.require_readable(settings.state), None)
    ui = recorded if recorded and recorded.alive else None
    if as_json:
        assets = [
            {**dataclasses.asdict(state), "record": state.record and dataclasses.asdict(state.record)}
            for state in states.values()
        ]
        answer = {
            "assets": assets,
            "would_run": wave,
            "retraining": dataclasses.asdict(retraining),
            "history_differs": sorted(differing),
            "endpoint": endpoint,
            "ui": ui.address if ui else None,
            "faults": parts.faults,
        }
        print_json(answer)
    else:
        show_states(states)
        if differing:
            print_field("history", _history(differing), width=LABEL)
        would_run = UNKNOWN if "catalog" in parts.faults else ", ".join(wave) or "nothing"
        print_field("would run", would_run, width=LABEL)
        print_field("retraining", f"{'due' if retraining.start else 'not due'}: {retraining.reason}", width=LABEL)
        address = endpoint["address"] or "none yet"
        running = f"{address}{'' if endpoint['alive'] else ' (not running)'}"
        print_field("endpoint", UNKNOWN if "endpoint" in parts.faults else running, width=LABEL)
        shown = ui.address if ui else "not running"
        print_field("UI", UNKNOWN if "UI" in parts.faults else shown, width=LABEL)
        parts.show()
    fresh = all(state.status in ("fresh", "observed") for state in states.values())
    return 0 if fresh and not parts.faults else 1


def _history(differing: Mapping[str, bool]) -> str:
    """Return a line on assets of which the project has another result than Dagster's history on this machine."""
    lacking = [name for name, lacks in differing.items() if lacks]
    other = [name for name, lacks in differing.items() if not lacks]
    said = [
        *([f"it lacks {len(lacking)} results that the project has: {', '.join(lacking)}"] if lacking else []),
        *([f"the project has newer ones than it of {', '.join(other)}"] if other else []),
    ]
    return f"{'; '.join(said)}; the project's record counts, and `phi run` adopts it"


def _differing(instance: dg.DagsterInstance, graph: dg.Definitions) -> Mapping[str, bool]:
    return differences(instance, staleness.assets_of(graph), graph.resources or {})


Judged = tuple[Mapping[str, AssetState], Decision, Mapping[str, bool]]


def _judged(settings: Settings, graph: dg.Definitions, parts: Parts) -> Judged:
    """Return the state of every asset, the decision on retraining, and what the history on this machine lacks.

    `unknown` and nothing where they cannot be read.
    """

    def judge(opened: AbstractContextManager[dg.DagsterInstance]) -> Judged:
        with opened as instance:
            resources = graph.resources or {}
            states = staleness.asset_states(instance, graph, parts.note)
            due = parts.read("retraining", lambda: is_due(instance, settings, resources).decision, unjudged)
            return states, due, parts.read("history", lambda: _differing(instance, graph), {})

    unjudged = Decision(False, UNKNOWN)
    judged = parts.read("Dagster's storage", lambda: judge(home.instance(settings)), None)
    with suppress(Exception):  # the sentence for the first fault is the one to show
        judged = judged or judge(snapshot(settings))
    return judged or (staleness.recorded(graph, UNKNOWN), unjudged, {})


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
    parts = [
        f"{getattr(record, name)}" for name in ("name", "source", "version", "preset", "form") if hasattr(record, name)
    ]
    rows = getattr(record, "rows", None)
    if isinstance(rows, int):
        parts.append(f"{rows} rows")
    elif rows:
        parts.append(", ".join(f"{count} {split}" for split, count in rows.items()))
    note = getattr(record, "note", "")
    parts += [f"({note})"] if note else []
    return " ".join([*parts, f"({record.digest[:12]})"])
