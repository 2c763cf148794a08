"""Estimates the costs of the account's group: its resources and its last jobs, priced from a dated table."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from phi_assets.backends.azure.client import names, rest
from phi_assets.backends.azure.client.azure_errors import refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.jobs.job_errors import details
from phi_assets.backends.azure.jobs.watch import ENDED
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Bill, CostReport, JobCost, Standing

DAYS_A_MONTH = 30  # the price table's month: 5.0 is 0.167 a day
HOURS_A_DAY = 24
NOTES = (
    f"prices: {prices.AS_OF}; {prices.SOURCE}",
    "computed from existing resources and the last jobs, without storage, requests, logs, nodes' start and idle "
    "minutes, and deleted resources; the invoice is Azure's",
)


class AzureCosts(CostReport):
    """The cost report of one account's resource group."""

    account: dict[str, str]
    vm_size: str
    monthly_budget: float | None
    jobs: int = 20

    def measure(self, log: Log) -> Bill:
        of, now = clients(self.account), dt.datetime.now(dt.UTC)
        standing = _resources(of, log) + _nodes(of, log) + _serving(of, log)
        jobs = last(of, self.vm_size, self.jobs, now, log)
        month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        spent = sum(row.dollars_a_day * _days(made, month, now) for row, made in standing if made is not None)
        spent += sum(job.dollars for job in jobs if job.started >= month.isoformat())
        return Bill(
            standing=tuple(row for row, _ in standing),
            jobs=tuple(jobs),
            spent_this_month=round(spent, 2),
            budget=self.monthly_budget,
            notes=NOTES,
            portal=f"https://portal.azure.com/#@/resource{of.account.group_id}/costanalysis",
        )


# A resource and its creation time; None if its cost is counted with the jobs.
Row = tuple[Standing, dt.datetime | None]


def _resources(of: AzureClients, log: Log) -> list[Row]:
    assets = {name: asset for asset, name in names.names(of.account).items()}
    rows: list[Row] = []
    for resource in rest.resources(of, log):
        known = prices.MONTHLY.get(assets.get(str(resource["name"]), ""))
        a_month, what = known or (0.0, "by use, or not in the price table")
        standing = Standing(str(resource["name"]), str(resource["type"]), what, round(a_month / DAYS_A_MONTH, 4))
        rows.append((standing, _made(resource)))
    return rows


def _nodes(of: AzureClients, log: Log) -> list[Row]:
    rows: list[Row] = []
    for cluster in rest.clusters(of, log):
        inner = rest.properties(cluster).get("properties") or {}
        nodes, size = int(inner.get("currentNodeCount") or 0), str(inner.get("vmSize") or "")
        dollars, priced = _machines(size, nodes, of)
        what = f"{nodes} x {size} now{priced}"
        rows.append((Standing(str(cluster["name"]), "cluster", what, dollars), None))
    return rows


def _serving(of: AzureClients, log: Log) -> list[Row]:
    rows: list[Row] = []
    for endpoint, deployments in rest.endpoints(of, log):
        for deployment in deployments:
            size = str(rest.properties(deployment).get("instanceType") or "")
            instances = int((deployment.get("sku") or {}).get("capacity") or 1)
            dollars, priced = _machines(size, instances, of)
            name = f"{endpoint['name']}/{deployment['name']}"
            rows.append((Standing(name, "deployment", f"{instances} x {size}{priced}", dollars), _made(deployment)))
    return rows


def _machines(size: str, count: int, of: AzureClients) -> tuple[float, str]:
    """US dollars a day, and a remark when the VM size has no price."""
    try:
        return round(prices.price_per_hour(size, of.account.location) * HOURS_A_DAY * count, 2), ""
    except prices.UnknownSize:
        return 0.0, ", price unknown"


def _made(resource: Mapping[str, Any]) -> dt.datetime | None:
    return _moment(resource.get("createdTime") or (resource.get("systemData") or {}).get("createdAt"))


def _days(made: dt.datetime, month: dt.datetime, now: dt.datetime) -> float:
    return max(0.0, (now - max(made, month)).total_seconds() / 86400)


def last(of: AzureClients, vm_size: str, limit: int, now: dt.datetime, log: Log) -> list[JobCost]:
    """The newest jobs of the workspace, at most `limit`. `vm_size` is assumed for jobs of a deleted cluster."""
    sizes = {str(row["id"]).lower(): _size(row) for row in rest.clusters(of, log)}
    jobs = rest.rows_if_any(of, "the jobs", f"{rest.workspace_id(of)}/jobs", log)
    jobs.sort(key=lambda job: str((job.get("systemData") or {}).get("createdAt")), reverse=True)
    return [_cost(of, job, sizes, vm_size, now, log) for job in jobs[:limit]]


def _cost(
    of: AzureClients, job: Mapping[str, Any], sizes: Mapping[str, str], vm_size: str, now: dt.datetime, log: Log
) -> JobCost:
    name, properties = str(job["name"]), rest.properties(job)
    ran = _history(of, name, log)
    status = str(ran.get("status") or properties.get("status"))
    started, ended = _moment(ran.get("startTimeUtc")), _moment(ran.get("endTimeUtc"))
    over, remark = status in ENDED, ""
    until = ended if over else now
    minutes = (until - started).total_seconds() / 60 if started and until else 0.0
    if over and started and not ended:
        remark = "Azure reports no end time: not counted"
    size = sizes.get(str(properties.get("computeId")).lower()) or vm_size
    nodes = int((properties.get("resources") or {}).get("instanceCount") or 1)
    try:
        dollars = prices.price_per_hour(size, of.account.location) * nodes * minutes / 60
    except prices.UnknownSize:
        dollars, remark = 0.0, f"the price table has no row for {size}: not counted"
    return JobCost(
        name=name,
        title=str(properties.get("displayName") or name),
        status=status,
        started=started.isoformat() if started else "",
        minutes=round(minutes, 2),
        dollars=round(dollars, 4),
        ended=over,
        remark=remark,
    )


def _history(of: AzureClients, name: str, log: Log) -> Mapping[str, Any]:
    """The run history's details of a job; empty for a job that it does not contain yet."""
    from azure.core.exceptions import HttpResponseError

    try:
        return with_retries(f"reading when {name} ran", lambda: details(of, name), log)
    except HttpResponseError as e:
        if status_of(e) == 404:
            return {}
        raise refused(f"reading when {name} ran", e) from e


def _size(cluster: Mapping[str, Any]) -> str:
    return str((rest.properties(cluster).get("properties") or {}).get("vmSize") or "")


def _moment(text: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(str(text).replace("Z", "+00:00")) if text else None
