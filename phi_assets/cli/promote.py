"""`phi promote` and `phi rollback`: another champion by hand, as a run that Dagster records."""

from typing import Any

from phi_assets.cli.ask import NothingDeployed, ask_deployed
from phi_assets.cli.console import console, say
from phi_assets.instance import home, runs, server
from phi_assets.settings import Settings


def promote(settings: Settings, version: str, reason: str) -> int:
    """0 when the version is champion and answers; else 1, with the reasons."""
    return _change(settings, "promote", {"action": "promote", "version": version, "reason": reason})


def rollback(settings: Settings, reason: str) -> int:
    """0 when the former champion is champion and answers; else 1, with the reasons."""
    return _change(settings, "rollback", {"action": "rollback", "reason": reason})


def _change(settings: Settings, job: str, promotion: dict[str, str]) -> int:
    with home.only_one(settings, "run", job), home.instance(settings) as instance:
        ui = server.ensure(settings, settings.state / "dagster.log")
        run_id = runs.submit(ui, job, config={"ops": {"registered_model": {"config": promotion}}})
        say(job, f"{run_id[:8]} is live on {ui.address}/runs/{run_id}")
        outcome = runs.follow(instance, run_id, say)
    for error in outcome.errors:
        console.print(f"  {error}", markup=False)
    try:
        console.print(_who_answers(ask_deployed(settings, "Hello")), markup=False)
    except NothingDeployed as e:
        console.print(f"nobody answers: {e}", markup=False)
        return 1
    return 0 if outcome.ended_well else 1


def _who_answers(answer: dict[str, Any]) -> str:
    return f"answers now   {answer['model']} {answer['model_version']}, deployment {answer['deployment']}"
