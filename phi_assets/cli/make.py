"""`phi run`: observe the sources, make what is missing or stale, wave by wave, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg

from phi_assets.cli.console import say
from phi_assets.graph import staleness
from phi_assets.graph.run_tags import BY_COMMAND, FOLLOWED
from phi_assets.instance import dead_runs, runs
from phi_assets.settings import Settings

if TYPE_CHECKING:
    from phi_assets.instance.server import Interface

# Dagster's own lines of a run in this process would stand between ours.
UNSEEN = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

ASKED_AGAIN = "asked again, for what is made behind it"


@dataclass
class Made:
    """What a call of `phi run` did: seconds by asset, failed assets, and why it stopped short, if it did."""

    seconds: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    states: Mapping[str, staleness.AssetState] = field(default_factory=dict)

    @property
    def failed_assets(self) -> list[str]:
        return [error.partition(":")[0] for error in self.errors]


def make_graph(settings: Settings, instance: dg.DagsterInstance, definitions: dg.Definitions, ui: "Interface") -> Made:
    """Everything fresh, or the reasons why not."""
    made = Made()
    for run_id in dead_runs.fail_dead_runs(instance):
        say("run", f"{run_id[:8]}: its process was gone; marked as failed")
    for run_id in runs.under_way(instance):
        say("run", f"{run_id[:8]} of an earlier call is still going; following it on {ui.address}/runs/{run_id}")
        _follow(instance, ui, run_id, made)
        made.errors.clear()  # what that run left undone is found below
    # First of all: whoever looks at the sources would wait for the very role that is missing.
    damage = staleness.damage(definitions)
    if damage:
        for name, why in damage.items():
            say(name, f"missing: {why}")
        _follow(instance, ui, runs.submit(ui, "everything", list(damage)), made)
        if made.errors:
            made.states = staleness.survey(instance, definitions)
            return made
    if not _observe(instance, definitions, made):
        made.states = staleness.survey(instance, definitions)
        return made
    last: list[str] = []
    while True:
        made.states = staleness.survey(instance, definitions)
        wave = staleness.next_wave(made.states)
        made.errors += [line for state in made.states.values() for line in state.failed_checks] if not wave else []
        if not wave or made.errors:
            return made
        if wave == last:
            made.errors += [
                f"{name}: still {made.states[name].status} after a run: {made.states[name].reasons}" for name in wave
            ]
            return made
        for name in wave:
            say(name, f"{made.states[name].status}: {'; '.join(made.states[name].reasons) or ASKED_AGAIN}")
        run_id = runs.submit(ui, "everything", wave)
        say("run", f"{run_id[:8]} makes {len(wave)} assets; live on {ui.address}/runs/{run_id}")
        _follow(instance, ui, run_id, made)
        if made.errors:
            made.states = staleness.survey(instance, definitions)
            return made
        last = wave


def _observe(instance: dg.DagsterInstance, definitions: dg.Definitions, made: Made) -> bool:
    # In this process, which has loaded the definitions: another would take longer to start than to look.
    done = definitions.resolve_job_def("observe_sources").execute_in_process(
        instance=instance, run_config=UNSEEN, tags={**FOLLOWED, **BY_COMMAND}, raise_on_error=False
    )
    outcome = runs.follow(instance, done.run_id, lambda _who, _words: None)
    made.errors += outcome.errors
    say("sources", "observed" if outcome.ended_well else "could not be observed")
    return outcome.ended_well


def _follow(instance: dg.DagsterInstance, ui: "Interface", run_id: str, made: Made) -> None:
    try:
        outcome = runs.follow(instance, run_id, say)
    except KeyboardInterrupt:
        say("run", f"{run_id[:8]}: cancelling; press Ctrl-C again to leave it running")
        runs.cancel(ui, run_id)
        runs.follow(instance, run_id, say)
        raise
    made.seconds.update({asset: took for asset, took in outcome.seconds.items() if asset not in made.failed_assets})
    made.errors += outcome.errors
    if not outcome.ended_well and not outcome.errors:
        made.errors.append(f"run: {run_id} was {outcome.status.value.lower()}")
