"""The quota of the machines and the maximum cost of a job, both checked before anything is spent.

On Azure only.
"""

from collections.abc import Iterator

import dagster as dg

from phi_assets.defs.infrastructure.metadata import describe_quota
from phi_assets.graph import check_gates
from phi_assets.graph.asset_facts import LIVE, ONLY_ON_AZURE, PLATFORM, stored_by
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.infrastructure import ComputeQuota
from phi_assets.records import Quota

DESCRIPTIONS = {
    "enough_quota": "Azure ML's quotas, of the VM families and of the region, cover all required vCPUs.",
    "cost_within_ceiling": "A job that runs until its timeout costs at most PHI_AZURE_MAX_JOB_COST.",
}
RULES = ("azure_max_job_cost",)


@dg.asset(
    group_name="infrastructure",
    kinds={"azure"},
    owners=PLATFORM,
    tags={LIVE: "true"},
    metadata={**stored_by("compute_quota"), **ONLY_ON_AZURE},
)
def gpu_quota(context: dg.AssetExecutionContext, compute_quota: ComputeQuota) -> dg.MaterializeResult[Quota]:
    """The vCPU quota of Azure ML in the region, and the vCPUs that training and the endpoint need."""
    quota = compute_quota.ensure(context.log.info)
    return dg.MaterializeResult(value=quota, data_version=dg.DataVersion(quota.digest), metadata=describe_quota(quota))


@dg.multi_asset_check(specs=check_gates.blocking(__name__, "gpu_quota", DESCRIPTIONS, RULES))
def affordable(gpu_quota: Quota, compute_quota: ComputeQuota, catalog: AssetCatalog) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of both checks."""
    for name, outcome in compute_quota.judge(gpu_quota).items():
        yield check_gates.check_result(catalog, name, "gpu_quota", gpu_quota.digest, outcome)
