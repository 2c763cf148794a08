"""Whether a training is due: the policy of `models/retraining_policy.py`, applied to this home's records and runs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from phi_assets.conversations.drift import Drift, enough, new_rows
from phi_assets.conversations.drift_cache import DriftCache
from phi_assets.graph import check_gates
from phi_assets.graph.asset_keys import key_of
from phi_assets.graph.dagster_internals import log_of_run
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.own_runs import LOCATION, is_own, own_runs
from phi_assets.graph.run_tags import STOPPED
from phi_assets.instance.home import is_at_work
from phi_assets.models.retraining_policy import Decision, Money, Rules, Situation, decide
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion, ModelVersion, Quota
from phi_assets.settings import Settings

DATASET = "phi/dataset"  # tag of a run that the policy started: its dataset's digest
REASON = "phi/reason"
OPEN = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
WITHOUT_RESULT = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
RECORDS = 20  # of runs of jobs named `retrain`, also another code location's, that are searched for the newest own one
MOST_TRIES = 3  # maximum attempts on a dataset, where each earlier one was only stopped
MODEL = key_of("fine_tuned_model")
NOT_YET = "no model was trained yet; `phi run` makes the first"


@dataclass(frozen=True)
class Due:
    """The decision, and the run that it starts: a key unique to this training, and its tags.

    With `measure`, nothing can be decided before a run of job `freshness` with this key has measured the drift.
    """

    decision: Decision
    run_key: str = ""
    tags: Mapping[str, str] | None = None
    measure: bool = False


class NotMeasured(LookupError):
    """The drift of the newest dataset is not known yet."""


def is_due(
    instance: dg.DagsterInstance, settings: Settings, resources: Mapping[str, Any], location: str = LOCATION
) -> Due:
    """Decide from records, then runs, then files, then the cloud: most decisions need only the first.

    `location` is the code location whose runs count.
    """
    if is_at_work(settings, "run"):
        return _no("a `phi` command is at work on this home; what it leaves undone is looked at after it")
    records: RecordIOManager = resources["io_manager"]
    dataset = records.latest(key_of("chat_dataset"))
    model = records.latest(MODEL)
    if not isinstance(dataset, DatasetVersion) or not isinstance(model, ModelVersion):
        return _no(NOT_YET)
    if model.dataset_digest == dataset.digest:
        return _no(f"the model was trained on the newest dataset, {dataset.digest[:12]}")
    refused = _refused(resources["catalog"], dataset)
    if refused:
        return _no(refused)
    busy = _run_under_way(instance, location)
    if busy:
        return _no(f"run {busy.run_id[:8]} ({busy.job_name}) is still going")
    tries = _tries(instance, dataset, location)
    if len(tries) == MOST_TRIES or any(not _only_stopped(instance, run) for run in tries):
        return _no(
            f"run {tries[0].run_id[:8]} on this dataset ended with {tries[0].status.value}; "
            "newer data starts another, or job `retrain`, or `phi run`"
        )
    try:
        decision = decide(_situation(instance, settings, dataset, model, resources, location), Rules.of(settings))
    except NotMeasured as e:
        key = f"drift of {dataset.digest[:16]} from {model.dataset_digest[:16]}"
        return Due(Decision(False, str(e)), run_key=key, measure=True)
    return Due(
        decision,
        run_key=f"{dataset.digest[:16]} after {model.digest[:16]}, try {len(tries) + 1}",
        tags={DATASET: dataset.digest, REASON: decision.reason},
    )


def _no(reason: str) -> Due:
    return Due(Decision(False, reason))


def _refused(catalog: AssetCatalog, dataset: DatasetVersion) -> str:
    """Return why the blocking checks do not permit this dataset; empty when they do."""
    missing, failed = check_gates.missing_and_failed(catalog, "chat_dataset", dataset.digest)
    if failed:
        return "the newest dataset did not pass: " + "; ".join(failed)
    return f"the newest dataset is not yet judged by {', '.join(missing)}" if missing else ""


def _run_under_way(instance: dg.DagsterInstance, location: str) -> dg.DagsterRun | None:
    """Return a run in progress that makes the dataset, trains or deploys: the decision waits for its end."""
    about = {key_of("chat_dataset"), MODEL, key_of("registered_model"), key_of("online_deployment")}
    runs = own_runs(instance, dg.RunsFilter(statuses=OPEN), location=location)
    makes_assets = [run for run in runs if run.asset_selection is None or run.asset_selection & about]
    return next((run for run in makes_assets if run.job_name not in MAKE_NOTHING), None)


def _tries(instance: dg.DagsterInstance, dataset: DatasetVersion, location: str) -> list[dg.DagsterRun]:
    """Return the failed or canceled runs that the policy started on this dataset, the newest first."""
    filters = dg.RunsFilter(tags={DATASET: dataset.digest}, statuses=WITHOUT_RESULT)
    return list(own_runs(instance, filters, MOST_TRIES, location))


def _only_stopped(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether the run failed only because Dagster was stopped while it ran."""
    failures = log_of_run(instance, run.run_id, dg.DagsterEventType.STEP_FAILURE)
    own = [entry.get_dagster_event().step_failure_data.user_failure_data for entry in failures]
    return any(data and STOPPED in data.metadata for data in own)


# Jobs without an asset selection that may run concurrently with a training.
MAKE_NOTHING = frozenset({"observe_sources", "preflight", "cost", "why", "freshness", "candidate", "clean"})


def _situation(
    instance: dg.DagsterInstance,
    settings: Settings,
    dataset: DatasetVersion,
    model: ModelVersion,
    resources: Mapping[str, Any],
    location: str,
) -> Situation:
    """Return the situation: the dataset's files are read only while no run has measured its drift."""
    known = DriftCache(settings.state).find(model.dataset_digest, dataset.digest)
    new, trained_on = (known.new, known.trained_on) if known else _counts(resources["dataset_store"], dataset, model)
    return Situation(
        new=new,
        trained_on=trained_on,
        drift=partial(_drift, known, new, trained_on),
        minutes_since=_minutes_since_training(instance, location),
        money=partial(_money, resources),
    )


def _counts(store: DatasetStore, dataset: DatasetVersion, model: ModelVersion) -> tuple[int, int]:
    """Return the number of new conversations, and of those that the model was trained on: 0 where these are gone."""
    trained = store.find(model.dataset_digest)
    if not isinstance(trained, DatasetVersion):
        return sum(dataset.rows.values()), 0
    return len(new_rows(store.folder(trained), store.folder(dataset))), sum(trained.rows.values())


def _drift(known: Drift | None, new: int, trained_on: int) -> float | None:
    """Return the drift; None where too little is new to judge.

    Raises NotMeasured: measuring takes seconds of CPU and the classifier's library, which are no part of a tick.
    """
    if not enough(new, trained_on):
        return None
    if known is None:
        raise NotMeasured(
            f"{new} new conversations since the last training on {trained_on}: job `freshness` measures their drift"
        )
    return known.distance


def _minutes_since_training(instance: dg.DagsterInstance, location: str) -> float | None:
    """Return the minutes since the last training ended, or since the policy started one, whichever is later."""
    event = instance.get_latest_materialization_event(MODEL)
    started = [
        record.start_time
        for record in instance.get_run_records(filters=dg.RunsFilter(job_name="retrain"), limit=RECORDS)
        if record.start_time and is_own(record.dagster_run, location)
    ]
    times = [*started, *([event.timestamp] if event else [])]
    return (time.time() - max(times)) / 60 if times else None


def _money(resources: Mapping[str, Any]) -> Money | None:
    """Return budget and maximum job cost; None where nothing is paid for."""
    report = resources.get("cost_report")
    if report is None:
        return None
    quota = resources["io_manager"].latest(key_of("gpu_quota"))
    return Money(report.measure(lambda _: None).left, quota.dearest_job if isinstance(quota, Quota) else 0.0)
