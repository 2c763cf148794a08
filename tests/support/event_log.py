"""Writes events to Dagster's event log as a run would: materialisations and observations with versions and times."""

import time
from collections.abc import Mapping

import dagster as dg
from dagster._core.events import AssetObservationData, StepMaterializationData

from phi_assets.defs.chat import checks as _chat
from phi_assets.defs.dataset import checks as _dataset
from phi_assets.defs.evaluation import checks as _evaluation
from phi_assets.defs.infrastructure import gpu_quota as _infrastructure
from phi_assets.graph import check_gates
from phi_assets.graph.asset_keys import INPUT_PREFIX
from phi_assets.graph.staleness import CODE_VERSION, DATA_VERSION
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog

DECLARED_IN = (_chat, _dataset, _evaluation, _infrastructure)  # importing them declares the blocking checks


def observed(instance: dg.DagsterInstance, asset: str, version: str, hours_ago: float = 0) -> None:
    event = dg.AssetObservation(asset, tags={DATA_VERSION: version})
    _store(instance, dg.DagsterEventType.ASSET_OBSERVATION, AssetObservationData(event), hours_ago)


def made(
    instance: dg.DagsterInstance,
    asset: str,
    version: str,
    inputs: Mapping[str, str] | None = None,
    code_version: str = "",
    hours_ago: float = 0,
    catalog: AssetCatalog | None = None,
) -> None:
    """Store a materialisation of `version` from these input versions, and passed evaluations of its blocking checks.

    The verdicts count if they are in the catalog.
    """
    tags = {DATA_VERSION: version, CODE_VERSION: code_version}
    for name, used in (inputs or {}).items():
        # Dagster needs the event's id for partitions only.
        tags |= {INPUT_PREFIX + name: used, f"dagster/input_event_pointer/{name}": "NULL"}
    event = dg.AssetMaterialization(asset, tags=tags)
    _store(instance, dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(event), hours_ago)
    for check in check_gates.BLOCKING.get(asset, ()):
        verdict = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset), check_name=check, passed=True, metadata={check_gates.SUBJECT: version}
        )
        instance.report_runless_asset_event(verdict)
        if catalog:
            catalog.judge([check_gates.verdict_of(asset, check, version, CheckOutcome(True, "passed"))])


def _store(instance: dg.DagsterInstance, kind: dg.DagsterEventType, data: object, hours_ago: float) -> None:
    event = dg.DagsterEvent(kind.value, "none", event_specific_data=data)  # type: ignore[arg-type]
    entry = dg.EventLogEntry(
        error_info=None,
        level="debug",
        user_message="",
        run_id="",
        timestamp=time.time() - hours_ago * 3600,
        job_name="none",
        dagster_event=event,
    )
    instance.event_log_storage.store_event(entry)
