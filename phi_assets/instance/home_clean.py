"""A clean of a home: the retention policy of `models/retention_policy.py`, applied to what is stored and named."""

import dataclasses
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg

from phi_assets.answer_log import Answers
from phi_assets.backends.home_storage import size_of
from phi_assets.errors import BackendError
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.own_runs import own_runs
from phi_assets.instance import log_rotation, quiet_runs
from phi_assets.instance.home import Busy, only_one
from phi_assets.instance.quiet_runs import Named
from phi_assets.instance.retraining_due import OPEN
from phi_assets.models import champions
from phi_assets.models.champions import Version
from phi_assets.models.retention_policy import DAY, Needed, Rules, Stored, Verdict, decide, short
from phi_assets.ports.base import Log
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.operations import Retention
from phi_assets.ports.training import Trainer
from phi_assets.records import Record
from phi_assets.settings import Settings

READS_ONLY = frozenset({"observe_sources", "preflight", "cost", "why", "freshness", "clean", "backup"})


@dataclass(frozen=True)
class Removal:
    """Something that a clean removes, or would remove: its size in bytes, why, and why it could not be removed."""

    kind: str
    name: str
    bytes: int
    reason: str
    error: str = ""


def clean(
    instance: dg.DagsterInstance,
    settings: Settings,
    resources: Mapping[str, Any],
    log: Log,
    *,
    dry_run: bool = False,
    run_id: str = "",
) -> list[Removal]:
    """Remove what the retention policy does not keep, and return it; with `dry_run` only return it.

    `run_id` is the Dagster run that cleans. Raises Busy while another command or run works on the home,
    AnswersUnreadable when it is not known which models the answers need, and BackendError when the backend cannot be
    asked.
    """
    with only_one(settings, "run", "clean"):
        _require_no_run(instance, run_id)
        retention: Retention = resources["retention"]
        registry: ModelRegistry = resources["registry"]
        if not dry_run:
            retention.sweep()
        now, rules, versions = time.time(), Rules.of(settings), registry.versions()
        stored = Answers(settings.state, settings.keep_answers_days)
        if "shared_answers" in resources and not dry_run:
            resources["shared_answers"].fetch(stored)
        answers = stored.models()
        needed = _needed(resources, versions, answers, rules, now)
        verdicts = decide(retention.stored(log), needed, rules, now)
        removals = [_remove(each, retention, registry, versions, log, dry_run) for each in verdicts if each.remove]
        named = _named(verdicts, needed, resources["trainer"], versions, answers)
        return [*removals, *_remove_from_dagster(instance, settings, named, rules, now, log, dry_run)]


def _require_no_run(instance: dg.DagsterInstance, own: str) -> None:
    for run in own_runs(instance, dg.RunsFilter(statuses=OPEN)):
        if run.run_id != own and run.job_name not in READS_ONLY:
            raise Busy(f"run {run.run_id[:8]} ({run.job_name}) is under way; clean after it, or cancel it")


def _needed(
    resources: Mapping[str, Any], versions: list[Version], answers: set[tuple[str, str]], rules: Rules, now: float
) -> Needed:
    """Return what serves, what the assets' records name, and what is behind the stored answers."""
    records: RecordIOManager = resources["io_manager"]
    catalog: AssetCatalog = resources["catalog"]
    latest = records.all_latest()
    named = [*catalog.records().items(), *latest.items()]  # another machine may have made newer ones than this home
    weights: dict[str, str] = {}
    for name, record in named:
        if name in ("fine_tuned_model", "model_evaluation", "registered_model"):
            weights[getattr(record, "model_digest", record.digest)] = f"of asset {name}"
    for version, reason in zip(
        reversed(champions.champions(versions)), ("the champion", "the former champion"), strict=False
    ):
        weights[version.model.model_digest] = reason
    for digest in _deployed(resources["endpoint_host"].status()["deployments"], latest, versions):
        weights[digest] = "deployed"
    explained = {digest: f"of asset {name}" for name, record in named for digest in _digests(record)}
    for version in versions:
        if version.model.model_digest in weights or now - _time(version.promoted_at) <= rules.days * DAY:
            explained |= dict.fromkeys(_of_version(version), f"of version {version.number}")
    behind = [each for each in versions if _answered(each, answers)]
    explained |= dict.fromkeys((digest for _, digest in answers if digest), "a stored answer is from it")
    explained |= {digest: "a stored answer is from it" for version in behind for digest in _of_version(version)}
    return Needed(weights, {digest: reason for digest, reason in explained.items() if digest})


def _deployed(
    deployments: Iterable[Mapping[str, Any]], latest: Mapping[str, Record], versions: list[Version]
) -> Iterator[str]:
    for each in deployments:
        digest = each.get("model_digest") or ""
        named = [v.model.model_digest for v in versions if v.number == each.get("model_version")]
        yield from [digest] if digest else named
    record = latest.get("online_deployment")
    if record:
        yield getattr(record, "model_digest", "")


def _answered(version: Version, answers: set[tuple[str, str]]) -> bool:
    """Return whether a stored answer is from this version; old servers stored no digest."""
    name = f"{version.model.name} {version.number}"
    return any(who == name and digest in ("", version.model.model_digest) for who, digest in answers)


def _of_version(version: Version) -> tuple[str, ...]:
    return version.model.model_digest, version.model.dataset_digest, version.evaluation


def _digests(record: Record) -> list[str]:
    """Return the record's digest, and those that it names."""
    names = [field.name for field in dataclasses.fields(record)]
    return [str(getattr(record, name)) for name in names if name == "digest" or name.endswith("_digest")]


def _remove(
    verdict: Verdict, retention: Retention, registry: ModelRegistry, versions: list[Version], log: Log, dry_run: bool
) -> Removal:
    stored, error = verdict.stored, ""
    if not dry_run:
        try:
            if stored.kind == "weights":
                _mark(stored, registry, versions)
            retention.remove(stored)
            log(f"removed {stored.kind} {stored.name}")
        except (BackendError, OSError) as e:
            error = str(e)
            log(f"could not remove {stored.kind} {stored.name}: {e}")
    return Removal(stored.kind, stored.name, stored.bytes, verdict.reason, error)


def _mark(weights: Stored, registry: ModelRegistry, versions: list[Version]) -> None:
    """Record in the registry that the weights are cleaned, before they are: a promotion then says so."""
    for version in versions:
        if short(version.model.model_digest) == short(weights.digest) and not version.cleaned:
            registry.tag(version.number, champions.cleaned_tags())


def _named(
    verdicts: list[Verdict], needed: Needed, trainer: Trainer, versions: list[Version], answers: set[tuple[str, str]]
) -> Named:
    """Return what keeps a run of Dagster."""
    kept = {each.stored.digest for each in verdicts if not each.remove and each.stored.digest}
    digests = kept | set(needed.weights) | set(needed.explained)
    short_digests = {short(digest) for digest in digests}
    models = [trainer.remembered(digest) for digest in digests]
    trained = {model.training_run for model in models if model}
    registered = {v.model.training_run for v in versions if short(v.model.model_digest) in short_digests}
    return Named(trained | registered, short_digests, {who for who, _ in answers})


def _remove_from_dagster(
    instance: dg.DagsterInstance, settings: Settings, named: Named, rules: Rules, now: float, log: Log, dry_run: bool
) -> list[Removal]:
    """Remove runs that are of no use, old captured output, and the beginning of long log_rotation."""
    folder, records = settings.dagster_home, settings.state / "records"
    found = []
    old = [(each.run_id, each.job, each.reason) for each in quiet_runs.removable(instance, named, rules, now)]
    left = [(run_id, "", "left of a run that was removed") for run_id in quiet_runs.orphans(instance, folder, now)]
    for run_id, job, reason in (*old, *left):
        size = quiet_runs.size_of_run(folder, run_id)
        if not dry_run:
            try:
                quiet_runs.remove_run(instance, folder, records, run_id)
            except quiet_runs.NotRemovable as e:
                log(str(e))
                break
        found.append(Removal("run", f"{run_id[:8]} {job}".strip(), size, reason))
    removed = {run_id for run_id, _, _ in (*old, *left)}
    for path in quiet_runs.old_logs(folder, rules.quiet_days, now):
        if path.name in removed:
            continue
        found.append(Removal("output", path.name[:8], size_of(path), f"older than {rules.quiet_days:g} days"))
        if not dry_run:
            shutil.rmtree(path, ignore_errors=True)
    for path in log_rotation.long_logs(settings):
        size = path.stat().st_size - log_rotation.REST
        found.append(Removal("log", path.name, size, f"longer than {log_rotation.MOST / 1e6:g} MB; its end stays"))
        if not dry_run:
            log_rotation.rotate(path)
    return found


def _time(text: str) -> float:
    """Return the seconds since 1970 of an ISO time; 0 for an unknown one."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0
