"""`phi run` from start to end: the graph made, the servers up, and what came out of it on the screen."""

import time

from phi_assets.cli import console as screen
from phi_assets.cli import make
from phi_assets.cli.before_and_after import show_before_and_after
from phi_assets.cli.console import console, say
from phi_assets.instance import home, server
from phi_assets.settings import Settings

SPEAKS = "POST /score, POST /v1/chat/completions; `phi ask` knows the key"


def run(settings: Settings) -> int:
    """0 when every asset is fresh and every blocking check passed, else 1 with the reasons."""
    from phi_assets.definitions import definitions

    began = time.monotonic()
    with home.only_one(settings, "run"), home.instance(settings) as instance:
        ui = server.ensure(settings, settings.state / "dagster.log")
        say("dagster", f"UI on {ui.address}")
        graph = definitions()
        made = make.make_graph(settings, instance, graph, ui)
        resources = graph.resources or {}
        host = resources["endpoint_host"]
        host.start(lambda words: say("endpoint", words))
        screen.show_outcomes(made.states, made.seconds, made.failed_assets)
        if made.errors:
            console.print("[red]not done:[/red]")
            for error in made.errors:
                console.print(f"  {error}", markup=False)
            console.print(f"  Dagster's UI: {ui.address}")
            return 1
        if not made.seconds:
            say("run", "nothing to do: every asset is up to date")
        show_before_and_after(settings, made.states, resources)
        console.print(f"endpoint  {host.status()['address']}  ({SPEAKS})")
        console.print(f"UI        {ui.address}")
        say("run", f"finished in {time.monotonic() - began:.0f} s")
    return 0
