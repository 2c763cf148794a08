"""`phi models`, `phi experiments`, `phi promote` and `phi rollback`: registered versions and tracked trainings."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import NothingDeployed, ask_deployed
from phi_assets.cli.console import print_field, print_json, print_text, say
from phi_assets.cli.tables import Column, print_table
from phi_assets.instance import home, runs, server
from phi_assets.models import recipes
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Trained, best_first, differences
from phi_assets.settings import Settings

NO_TRAININGS = "no training is tracked yet: `phi run` trains, and job `candidate` tries another recipe"
VERSIONS = (
    Column("version"),
    Column("state", styles={"champion": "green", "withdrawn": "yellow"}),
    Column("model"),
    Column("dataset"),
    Column("questions right"),
    Column("bits per byte", number=True),
    Column("promoted", text=True),
    Column("withdrawn", text=True),
    Column("weights", text=True),
)
TRAININGS = (
    Column("name"),
    Column("what differs", text=True),
    Column("dataset"),
    Column("loss", number=True),
    Column("validation loss", number=True),
    Column("bits per byte", number=True),
    Column("right", number=True),
    Column("general kept", number=True, optional=True),
    Column("minutes", number=True, optional=True),
    Column("gate", text=True),
)


def show(settings: Settings, *, as_json: bool) -> int:
    """Print the registered versions and return 0, also when there are none."""
    versions: list[Version] = build_resources(settings)["registry"].versions()
    if as_json:
        print_json([dataclasses.asdict(each) for each in versions])
    elif not versions:
        print_text("no model is registered yet; `phi run` makes one")
    else:
        print_table("registered models", VERSIONS, map(_row, versions))
    return 0


def _row(each: Version) -> tuple[str, ...]:
    return (
        each.number,
        each.state,
        each.model.model_digest[:12],
        each.model.dataset_digest[:12],
        each.questions_right or "not known",
        "not known" if each.bits_per_byte is None else f"{each.bits_per_byte:.3f}",
        f"{each.promoted_at[:16]} {each.promoted}{_by(each.promoted_who)}",
        f"{each.withdrawn_at[:16]} {each.withdrawn}{_by(each.withdrawn_who)}".strip(),
        f"cleaned {each.cleaned[:10]}" if each.cleaned else "",
    )


def _by(who: str) -> str:
    return f" ({who})" if who else ""


def experiments(settings: Settings, *, as_json: bool) -> int:
    """Print the trainings and return 0, also when there are none."""
    found = best_first(build_resources(settings)["registry"].trainings())
    reference = recipes.of(settings.preset, {}).learned_from()
    if as_json:
        print_json([_as_object(each, reference) for each in found])
    elif found:
        _show_trainings(found, reference)
    else:
        print_text(NO_TRAININGS)
    return 0


def _as_object(each: Trained, reference: Mapping[str, Any]) -> dict[str, Any]:
    gate = each.scores.gate if each.scores else "not evaluated"
    return {**dataclasses.asdict(each), "differs": differences(each, reference), "gate": gate}


def _show_trainings(found: list[Trained], reference: Mapping[str, Any]) -> None:
    print_table("trainings, best first", TRAININGS, (_training(each, reference) for each in found))
    if len({each.dataset for each in found}) > 1:
        print_text("Numbers of different datasets are of different test splits: compare within one.")


def _training(each: Trained, reference: Mapping[str, Any]) -> tuple[str, ...]:
    scores = each.scores
    return (
        each.candidate or "the graph's",
        ", ".join(differences(each, reference)) or "nothing",
        each.dataset[:12],
        _number(each.loss, "{:.3f}"),
        _number(each.validation_loss, "{:.3f}"),
        _number(scores and scores.bits_per_byte, "{:.3f}"),
        _number(scores and scores.right, "{:.0%}"),
        _number(scores and scores.general_kept, "{:.0%}"),
        _number(each.minutes, "{:.1f}"),
        scores.gate if scores else "not evaluated",
    )


def _number(value: float | None, form: str) -> str:
    return form.format(value) if value is not None else ""


def promote(settings: Settings, version: str, despite: Sequence[str], reason: str) -> int:
    """Return 0 when the version is champion and serves; else 1 after printing the reasons.

    `despite` are failed checks that do not count; then the newest evaluated model is promoted, and `version` is empty.
    """
    if bool(version) == bool(despite):
        print_text("give the number of a version, as `phi models` lists it, or --despite <failed check>")
        return 2
    if despite and not reason.strip():
        print_text("--despite needs a --reason: it is stored with the version and with the verdict of the check")
        return 2
    config = {"action": "promote", "version": version, "despite": list(despite), "reason": reason}
    return _change(settings, "promote", config)


def rollback(settings: Settings, reason: str) -> int:
    """Return 0 when the former champion is champion and serves; else 1 after printing the reasons."""
    return _change(settings, "rollback", {"action": "rollback", "reason": reason})


def _change(settings: Settings, job: str, promotion: Mapping[str, Any]) -> int:
    with home.only_one(settings, "run", job), home.instance(settings) as instance:
        ui = server.ensure(settings, settings.state / "dagster.log")
        run_id = runs.submit(ui, job, config={"ops": {"registered_model": {"config": promotion}}})
        say(job, f"{run_id[:8]} is live on {ui.address}/runs/{run_id}")
        outcome = runs.follow(instance, run_id, say)
    for error in outcome.errors:
        print_text(error.replace("\n", "\n  "), indent=2)
    try:
        answer = ask_deployed(settings, "Hello")
    except NothingDeployed as e:
        print_text(f"no model answers: {e}")
        return 1
    served_by = f"{answer['model']} {answer['model_version']}, deployment {answer['deployment']}"
    print_field("answers now", served_by)
    return 0 if outcome.ended_well else 1
