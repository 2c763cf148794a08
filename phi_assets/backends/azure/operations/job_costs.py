"""What the last jobs cost: the minutes that each ran, on the machine of its cluster."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_patience
from phi_assets.backends.azure.infrastructure import live_state, prices
from phi_assets.backends.azure.jobs.job_errors import details
from phi_assets.backends.azure.jobs.watch import ENDED
from phi_assets.ports.base import Log
from phi_assets.ports.operations import JobCost


def last(of: AzureClients, vm_size: str, most: int, now: dt.datetime, log: Log) -> list[JobCost]:
    """The newest jobs of the workspace, at most so many. `vm_size` is the machine of a cluster that is gone."""
    sizes = {str(row["id"]).lower(): _size(row) for row in rest.clusters(of, log)}
    jobs = rest.rows_if_any(of, "the jobs", f"{rest.workspace_id(of)}/jobs", log)
    jobs.sort(key=lambda job: str((job.get("systemData") or {}).get("createdAt")), reverse=True)
    return [_cost(of, job, sizes, vm_size, now, log) for job in jobs[:most]]


def _cost(
    of: AzureClients, job: Mapping[str, Any], sizes: Mapping[str, str], vm_size: str, now: dt.datetime, log: Log
) -> JobCost:
    name, properties = str(job["name"]), live_state.properties(job)
    ran = _history(of, name, log)
    status = str(ran.get("status") or properties.get("status"))
    started, ended = _moment(ran.get("startTimeUtc")), _moment(ran.get("endTimeUtc"))
    over, remark = status in ENDED, ""
    until = ended if over else now
    minutes = (until - started).total_seconds() / 60 if started and until else 0.0
    if over and started and not ended:
        remark = "Azure does not say when it ended: not counted"
    size = sizes.get(str(properties.get("computeId")).lower()) or vm_size
    nodes = int((properties.get("resources") or {}).get("instanceCount") or 1)
    try:
        dollars = prices.price_per_hour(size, of.account.location) * nodes * minutes / 60
    except prices.UnknownSize:
        dollars, remark = 0.0, f"no price is known for {size}: not counted"
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
    """What the run history says of a job; nothing of one that it does not know yet."""
    from azure.core.exceptions import HttpResponseError

    try:
        return with_patience(f"asking when {name} ran", lambda: details(of, name), log)
    except HttpResponseError as e:
        if status_of(e) == 404:
            return {}
        raise refused(f"asking when {name} ran", e) from e


def _size(cluster: Mapping[str, Any]) -> str:
    return str((live_state.properties(cluster).get("properties") or {}).get("vmSize") or "")


def _moment(told: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(str(told).replace("Z", "+00:00")) if told else None
