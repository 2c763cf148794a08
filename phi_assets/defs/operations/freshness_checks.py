"""Four freshness checks that warn and never block. They run with their assets, and every hour in job `freshness`."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg

from phi_assets import markdown
from phi_assets.conversations.drift_cache import DriftCache
from phi_assets.graph.freshness import champion_serves, passed_on
from phi_assets.graph.freshness import little_drift as drifted_little
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.serving import EndpointHost
from phi_assets.records import DatasetVersion, ModelVersion
from phi_assets.settings import Settings

TAKEN_IN = (
    "The dataset was made from the current raw conversations, or they have waited for less than PHI_STALE_HOURS. "
    "When it warns: see whether sensor `dataset_automation` is on and which run of chat_dataset failed, or start "
    "`phi run`."
)
TRAINED = (
    "The model was trained on the newest dataset, or that dataset is younger than PHI_SUPERSEDED_DAYS. "
    "When it warns: the ticks of sensor `retraining_policy` give the reason; start job `retrain`, or `phi run`."
)
SERVES = (
    "The model version that receives the endpoint's traffic is the registry's champion. "
    "When it warns: start job `redeploy`, or `phi run`."
)
DRIFT = (
    "A classifier distinguishes new conversations from those of the last training no better than "
    "PHI_RETRAIN_MIN_DRIFT (0: not at all, 1: always), or more drift starts a training because PHI_AUTOMATION is on. "
    "When it warns: read the new conversations; train on them if users will ask such questions, else remove them."
)


@dg.asset_check(asset="raw_conversations", description=TAKEN_IN)
def taken_in(context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    """Passes without new content: only content that waits counts, not the time without any."""
    remedy = "check that sensor `dataset_automation` is on, or start `phi run`"
    hours = settings.stale_hours
    return _warning(
        lambda: passed_on(context.instance, "raw_conversations", "chat_dataset", hours=hours, remedy=remedy)
    )


@dg.asset_check(asset="fine_tuned_model", description=TRAINED)
def trained_on_newest_dataset(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.AssetCheckResult:
    """By the dataset's digest, so that a dataset made again with the same content supersedes nothing."""
    remedy = "see the reason in the ticks of sensor `retraining_policy`, or start job `retrain`"
    hours = settings.superseded_days * 24
    return _warning(lambda: passed_on(context.instance, "chat_dataset", "fine_tuned_model", hours=hours, remedy=remedy))


@dg.asset_check(asset="online_deployment", description=SERVES)
def serves_the_champion(
    context: dg.AssetCheckExecutionContext, registry: ModelRegistry, endpoint_host: EndpointHost
) -> dg.AssetCheckResult:
    """Compares the registry with the live endpoint."""
    return _warning(lambda: champion_serves(context.instance, context.run.run_id, registry, endpoint_host))


@dg.asset_check(asset="chat_dataset", description=DRIFT)
def little_drift(
    dataset_store: DatasetStore,
    io_manager: dg.ResourceParam[RecordIOManager],
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    """Reads the records of this home, so that it passes before the first training.

    Sensor `retraining_policy` reads the drift that is measured here.
    """

    def find() -> CheckOutcome:
        dataset = io_manager.latest(dg.AssetKey("chat_dataset"))
        model = io_manager.latest(dg.AssetKey("fine_tuned_model"))
        if not isinstance(dataset, DatasetVersion) or not isinstance(model, ModelVersion):
            return CheckOutcome(True, "no model was trained yet")
        drift = DriftCache(settings.state).measured(
            model.dataset_digest, dataset.digest, lambda: _folders(dataset_store, model.dataset_digest, dataset)
        )
        return drifted_little(drift, most=settings.retrain_min_drift, by_itself=settings.automation == "on")

    return _warning(find)


def _folders(store: DatasetStore, trained_on: str, dataset: DatasetVersion) -> tuple[Path, Path] | None:
    found = store.find(trained_on)
    return (store.folder(found), store.folder(dataset)) if isinstance(found, DatasetVersion) else None


def _warning(find: Callable[[], CheckOutcome]) -> dg.AssetCheckResult:
    try:
        found = find()
    except Exception as e:  # of any kind: a check that only warns must not fail the run that it is part of
        found = CheckOutcome(False, f"the check could not run: {type(e).__name__}: {e}")
    return dg.AssetCheckResult(
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown.text(found.description),
        metadata=dict(found.numbers),
    )
