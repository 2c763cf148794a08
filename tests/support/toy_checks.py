"""Toy assets whose checks and steps pass or fail as configured: `data` -> `model` behind a gate, and `report`."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field

import dagster as dg

from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.errors import BackendError
from phi_assets.graph import check_gates
from phi_assets.outcome import CheckOutcome


@dataclass
class Toy:
    """`failing`: the checks that fail; `broken`: the exception that `report` raises."""

    version: str = "v1"
    failing: set[str] = field(default_factory=set)
    broken: Exception | None = None
    catalog: HomeCatalog = field(default_factory=lambda: HomeCatalog(state=tempfile.mkdtemp()))

    def run(self, instance: dg.DagsterInstance, *names: str) -> str:
        """Run these assets and their checks, or all of them; return the run id."""
        assets, checks = self._graph()
        selection: dg.AssetSelection | None = None
        if names:
            selection = dg.AssetSelection.assets(*names) | dg.AssetSelection.checks_for_assets(*names)
        everything: list[dg.AssetsDefinition | dg.AssetChecksDefinition] = [*assets, *checks]
        return dg.materialize(everything, instance=instance, selection=selection, raise_on_error=False).run_id

    def judge_only(self, instance: dg.DagsterInstance, *names: str) -> str:
        """Run only the checks; return the run id."""
        assets, checks = self._graph()
        job = dg.define_asset_job("judging", dg.AssetSelection.checks_for_assets(*(names or ("data", "report"))))
        graph = dg.Definitions(assets=assets, asset_checks=checks, jobs=[job])
        return graph.resolve_job_def("judging").execute_in_process(instance=instance, raise_on_error=False).run_id

    def _graph(self) -> tuple[list[dg.AssetsDefinition], list[dg.AssetChecksDefinition]]:
        toy = self

        @dg.asset
        def data() -> None: ...

        @dg.asset(deps=[data])
        def model() -> None:
            check_gates.require_passed(toy.catalog, "data", toy.version)

        @dg.asset
        def report() -> None:
            if toy.broken:
                raise toy.broken

        @dg.multi_asset_check(specs=[dg.AssetCheckSpec(n, asset="data", blocking=True) for n in ("whole", "clean")])
        def published() -> Iterable[dg.AssetCheckResult]:
            for name in ("whole", "clean"):
                outcome = CheckOutcome(name not in toy.failing, f"{name} of {toy.version}")
                yield check_gates.check_result(toy.catalog, name, "data", toy.version, outcome)

        @dg.asset_check(asset=report)
        def fresh() -> dg.AssetCheckResult:
            passed = "fresh" not in toy.failing
            return dg.AssetCheckResult(passed=passed, severity=dg.AssetCheckSeverity.WARN, description="two days old")

        return [data, model, report], [published, fresh]


def refused_by_azure() -> BackendError:
    return BackendError("the quota is 0; ask for 24 vCPUs", remedy="ask for 24 vCPUs")
