"""`phi status`: shows what exists, since when, fresh or stale and why, and what would run."""

import dataclasses
import json

from phi_assets.cli import console as screen
from phi_assets.cli.console import console
from phi_assets.graph import staleness
from phi_assets.instance import home, server
from phi_assets.instance.retraining_due import is_due
from phi_assets.settings import Settings


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
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        screen.show_states(states)
        console.print(f"would run  {', '.join(wave) or 'nothing'}")
        words = f"{'due' if retraining.start else 'not due'}: {retraining.reason}"
        console.print(f"retraining {words}", markup=False)
        address = endpoint["address"] or "none yet"
        console.print(f"endpoint   {address}{'' if endpoint['alive'] else ' (not running)'}")
        console.print(f"UI         {ui.address if ui else 'not running'}")
    return 0 if all(state.status in ("fresh", "observed") for state in states.values()) else 1
