"""What the account's group costs: what stands there, what its last jobs took, priced from a dated table."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from phi_assets.backends.azure.client import names, rest
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.infrastructure import live_state, prices
from phi_assets.backends.azure.operations import job_costs
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Bill, CostReport, Standing

DAYS_A_MONTH = 30  # the price table's month: 5.0 is 0.167 a day
HOURS_A_DAY = 24
NOTES = (
    f"prices: {prices.AS_OF}; {prices.SOURCE}",
    "counted from what exists and from the last jobs: storage, requests, logs, a node's start and idle minutes, and "
    "what was deleted since are not in it; the invoice is Azure's own",
)


class AzureCosts(CostReport):
    """Of one account's resource group."""

    account: dict[str, str]
    vm_size: str
    monthly_budget: float | None
    jobs: int = 20

    def measure(self, log: Log) -> Bill:
        of, now = clients(self.account), dt.datetime.now(dt.UTC)
        standing = _resources(of, log) + _nodes(of, log) + _serving(of, log)
        jobs = job_costs.last(of, self.vm_size, self.jobs, now, log)
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


# A thing and when it was made; no moment: its cost is counted with the jobs'.
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
        inner = live_state.properties(cluster).get("properties") or {}
        nodes, size = int(inner.get("currentNodeCount") or 0), str(inner.get("vmSize") or "")
        dollars, priced = _machines(size, nodes, of)
        what = f"{nodes} x {size} now{priced}"
        rows.append((Standing(str(cluster["name"]), "cluster", what, dollars), None))
    return rows


def _serving(of: AzureClients, log: Log) -> list[Row]:
    rows: list[Row] = []
    for endpoint, deployments in rest.endpoints(of, log):
        for deployment in deployments:
            size = str(live_state.properties(deployment).get("instanceType") or "")
            instances = int((deployment.get("sku") or {}).get("capacity") or 1)
            dollars, priced = _machines(size, instances, of)
            name = f"{endpoint['name']}/{deployment['name']}"
            rows.append((Standing(name, "deployment", f"{instances} x {size}{priced}", dollars), _made(deployment)))
    return rows


def _machines(size: str, count: int, of: AzureClients) -> tuple[float, str]:
    """US dollars a day, and a word when the size has no price."""
    try:
        return round(prices.price_per_hour(size, of.account.location) * HOURS_A_DAY * count, 2), ""
    except prices.UnknownSize:
        return 0.0, ", of which no price is known"


def _made(resource: Mapping[str, Any]) -> dt.datetime | None:
    told = resource.get("createdTime") or (resource.get("systemData") or {}).get("createdAt")
    return dt.datetime.fromisoformat(str(told).replace("Z", "+00:00")) if told else None


def _days(made: dt.datetime, month: dt.datetime, now: dt.datetime) -> float:
    return max(0.0, (now - max(made, month)).total_seconds() / 86400)
