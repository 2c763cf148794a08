"""`phi run`: materialises what is missing or stale, starts the servers, and prints the results."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from phi_assets.cli import ask
from phi_assets.cli.console import print_field, print_text, say
from phi_assets.cli.status import what_exists
from phi_assets.cli.tables import Column, print_table
from phi_assets.graph import adoption, staleness
from phi_assets.graph.dagster_internals import job_of
from phi_assets.graph.run_tags import BY_COMMAND, FOLLOWED
from phi_assets.graph.staleness import AssetState
from phi_assets.instance import dead_runs, home, runs, server
from phi_assets.records import Evaluation
from phi_assets.settings import Settings

if TYPE_CHECKING:
    from phi_assets.instance.server import Interface

# Without this, Dagster's log lines of an in-process run would mix with the command's output.
NO_CONSOLE_LOG = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
RERUN_FOR_DOWNSTREAM = "runs again, for the assets downstream of it"

QUESTIONS_SHOWN = 3
ANSWER_LINES = 10
LABEL = 9
SHARE = "{right} of {count} ({share:.0%})"

OUTCOMES = (Column("asset"), Column("outcome"), Column("seconds", number=True), Column("what exists now", text=True))

FEEDBACK = "feedback_conversations"
API = "POST /score, POST /v1/chat/completions; `phi ask` uses the key"


def run(settings: Settings) -> int:
    """Return 0 when every asset is fresh and every blocking check passed, else 1 after printing the reasons."""
    from phi_assets.definitions import definitions

    began = time.monotonic()
    with home.only_one(settings, "run"), home.instance(settings) as instance:
        ui = server.ensure(settings, settings.state / "dagster.log")
        say("dagster", f"UI on {ui.address}")
        graph = definitions()
        made = make_graph(settings, instance, graph, ui)
        resources = graph.resources or {}
        host = resources["endpoint_host"]
        host.start(lambda words: say("endpoint", words))
        chat = resources.get("chat_host")  # a backend may have none yet
        if chat:
            chat.start(lambda words: say("chat", words))
        show_outcomes(made.states, made.seconds, made.failed_assets)
        if made.errors:
            print_text("not done:", style="red")
            for error in made.errors:
                print_text(error.replace("\n", "\n  "), indent=2)
            print_text(f"Dagster's UI: {ui.address}", indent=2)
            return 1
        if not made.seconds:
            say("run", "nothing to do: every asset is up to date")
        show_before_and_after(settings, made.states, resources)
        print_field("endpoint", f"{host.status()['address']} ({API})", width=LABEL)
        if chat and chat.status()["address"]:
            print_field("chat", f"{chat.status()['address']} (`phi chat` opens it)", width=LABEL)
        print_field("UI", ui.address, width=LABEL)
        say("run", f"finished in {time.monotonic() - began:.0f} s")
    return 0


def show_outcomes(states: Mapping[str, AssetState], seconds: Mapping[str, float], failed: Sequence[str]) -> None:
    """Print for every asset whether this call materialised it, in how many seconds, and what exists now."""
    rows = (
        (
            state.name,
            _outcome(state, seconds, failed),
            f"{seconds[state.name]:.1f}" if state.name in seconds else "",
            what_exists(state),
        )
        for state in states.values()
    )
    print_table("outcome", OUTCOMES, rows)


def _outcome(state: AssetState, seconds: Mapping[str, float], failed: Sequence[str]) -> str:
    if state.name in failed:
        return "failed"
    if state.name in seconds:
        return "materialised"
    return {"fresh": "up to date", "observed": "observed"}.get(state.status, state.status)


def show_before_and_after(settings: Settings, states: Mapping[str, AssetState], resources: Mapping[str, Any]) -> None:
    """Print a table of questions with answers of both models, and the scores of the evaluation."""
    evaluation = states["model_evaluation"].record
    if not isinstance(evaluation, Evaluation):
        return
    evaluator = resources["evaluator"]
    file = evaluator.folder(evaluation) / "rows.jsonl"
    try:
        rows = [json.loads(line) for line in file.read_bytes().splitlines()]
    except (OSError, ValueError) as e:
        print_text(f"the answers of the evaluation cannot be shown: {file}: {e}", error=True)
        rows = []
    questions = [row for row in rows if row["kind"] == "question" and len(row["messages"]) == 1][:QUESTIONS_SHOWN]
    if questions:
        _show_answers(settings, questions, from_endpoint="endpoint_host" in resources)
    _show_scores(evaluator.report(evaluation))


def _show_answers(settings: Settings, questions: list[dict[str, Any]], *, from_endpoint: bool) -> None:
    tuned = f"fine-tuned, from the {'endpoint' if from_endpoint else 'evaluation'}"
    columns = [Column(title, text=True) for title in ("question", "base model", tuned)]
    rows = []
    for row in questions:
        text = row["messages"][-1]["content"]
        reply = ask.ask_deployed(settings, text)["answer"] if from_endpoint else row["tuned"]["reply"]
        rows.append((text, row["base"]["reply"], reply))
    print_table("before and after", columns, rows, longest=ANSWER_LINES)


def _show_scores(report: Mapping[str, Any]) -> None:
    for name, numbers in report["models"].items():
        if not numbers:
            continue
        bits = numbers["bits_per_byte"]
        words = ["bits per byte not finite" if bits is None else f"{bits:.3f} bits per byte on the test split"]
        for label, found in (
            ("evaluation questions right", (numbers["questions"] or {}).get("all")),
            ("general questions kept", numbers["general_kept"]),
        ):
            if found and found["count"]:
                words.append(f"{label}: {SHARE.format(**found)}")
        shuffled = (numbers["questions"] or {}).get("shuffled_share")
        if shuffled is not None:
            words.append(f"right with shuffled answer keys: {shuffled:.1%}")
        print_field(name, "; ".join(words), width=LABEL)
    if report["questions"]["note"]:
        print_text(report["questions"]["note"])


@dataclass
class Made:
    """The result of a call of `phi run`: seconds by asset, errors that stopped it, and the final asset states."""

    seconds: dict[str, float] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    states: Mapping[str, staleness.AssetState] = field(default_factory=dict)

    @property
    def failed_assets(self) -> list[str]:
        return [error.partition(":")[0] for error in self.errors]


def make_graph(settings: Settings, instance: dg.DagsterInstance, definitions: dg.Definitions, ui: "Interface") -> Made:
    """Run waves of assets until everything is fresh or something fails; return the result."""
    made = Made()
    for run_id in dead_runs.fail_dead_runs(instance, (definitions.resources or {}).get("heartbeats")):
        say("run", f"{run_id[:8]}: its process had died; marked as failed")
    for run_id in runs.under_way(instance):
        say("run", f"{run_id[:8]} of an earlier call is still going; following it on {ui.address}/runs/{run_id}")
        _follow(instance, ui, run_id, made)
        made.errors.clear()  # the survey below finds what that run did not finish
    assets = staleness.assets_of(definitions)
    if not _adopt(instance, assets, definitions):
        # A person who has no role on the data yet gets it first: everything else would be made again without need.
        _follow(instance, ui, runs.submit(ui, "everything", staleness.first_assets(assets)), made)
        if made.errors:
            made.states = _states_after_errors(instance, definitions)
            return made
        (definitions.resources or {})["catalog"].wait_until_readable(lambda words: say("history", words))
        _adopt(instance, assets, definitions)
    # Before the sources are observed: the observation could wait for a role that is missing.
    damage = staleness.damaged_assets(definitions)
    if damage:
        for name, why in damage.items():
            say(name, f"missing: {why}")
        _follow(instance, ui, runs.submit(ui, "everything", list(damage)), made)
        if made.errors:
            made.states = _states_after_errors(instance, definitions)
            return made
    if not _observe(instance, definitions, made):
        made.states = _states_after_errors(instance, definitions)
        return made
    last: list[str] = []
    while True:
        made.states = staleness.asset_states(instance, definitions)
        wave = staleness.next_assets(made.states)
        made.errors += [line for state in made.states.values() for line in state.failed_checks] if not wave else []
        if not wave or made.errors:
            return made
        if wave == last:
            made.errors += [
                f"{name}: still {made.states[name].status} after a run: {made.states[name].reasons}" for name in wave
            ]
            return made
        for name in wave:
            say(name, f"{made.states[name].status}: {'; '.join(made.states[name].reasons) or RERUN_FOR_DOWNSTREAM}")
        run_id = runs.submit(ui, "everything", wave)
        say("run", f"{run_id[:8]} makes {len(wave)} assets; live on {ui.address}/runs/{run_id}")
        _follow(instance, ui, run_id, made)
        if made.errors:
            made.states = _states_after_errors(instance, definitions)
            return made
        if FEEDBACK in wave and not _observe(instance, definitions, made):  # its file is one of the sources
            made.states = _states_after_errors(instance, definitions)
            return made
        last = wave


def _states_after_errors(instance: dg.DagsterInstance, definitions: dg.Definitions) -> dict[str, AssetState]:
    """Return the states; what cannot be read is `unknown`, so that the errors are told whatever else is missing."""
    return staleness.asset_states(instance, definitions, lambda _asset, fault: str(fault))


def _adopt(instance: dg.DagsterInstance, assets: Sequence[staleness.Asset], definitions: dg.Definitions) -> bool:
    """Adopt what the project has and this history lacks; False where what the project has cannot be read."""
    adopted = adoption.adopt(instance, assets, definitions.resources or {}, lambda words: say("history", words))
    return adopted is not None


def _observe(instance: dg.DagsterInstance, definitions: dg.Definitions, made: Made) -> bool:
    # In this process, which has loaded the definitions: a new process would take longer to start than the observation.
    done = job_of(definitions, "observe_sources").execute_in_process(
        instance=instance, run_config=NO_CONSOLE_LOG, tags={**FOLLOWED, **BY_COMMAND}, raise_on_error=False
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
