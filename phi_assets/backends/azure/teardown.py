"""Taking down what was made: what costs money while nobody uses it, or everything, so that its names are free again."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from phi_assets import infra
from phi_assets.backends.azure import deleted_vaults, listing, live_state, outputs, unique_names
from phi_assets.backends.azure.clients import AzureClients, clients
from phi_assets.backends.azure.errors import GaveUp, code_of, refused, status_of
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.ports import Doomed, Log, Teardown

ENDPOINT, DEPLOYMENT, CLUSTER = "online endpoint", "deployment", "cluster"
GROUPS = "Microsoft.Resources/resourceGroups"
LOGS = "Microsoft.OperationalInsights/workspaces"
MINUTES = 60.0
POLL_SECONDS = 3.0
WORD_EVERY = 30.0
# A resource that is being made or changed is refused; it is asked again until it has settled.
BUSY = frozenset({409, 412})
REMARKS = {
    listing.WORKSPACES.lower(): "for good, with its jobs, models and registered data",
    "microsoft.storage/storageaccounts": "with every dataset, model and log in it",
}


class AzureTeardown(Teardown):
    """Of one account: nothing outside its resource group is touched, but the name of its deleted vault."""

    account: dict[str, str]

    @property
    def confirmation(self) -> str:
        return clients(self.account).account.name

    def plan(self, everything: bool, log: Log) -> list[Doomed]:
        of = clients(self.account)
        return [*_costly(of, log), *(_all(of, log) if everything else [])]

    def take_down(self, everything: bool, log: Log) -> list[str]:
        of = clients(self.account)
        live_state.forget()
        for doomed in _costly(of, log):
            if doomed.kind != DEPLOYMENT:  # it goes with its endpoint
                _delete(of, doomed.address, listing.WORKSPACES_VERSION, log)
        kept = _take_all(of, log) if everything else []
        live_state.forget()
        return kept


def _costly(of: AzureClients, log: Log) -> list[Doomed]:
    """Endpoints with their deployments, and clusters: what costs money while it stands idle, or may."""
    found: list[Doomed] = []
    for endpoint, deployments in listing.endpoints(of, log):
        name = str(endpoint["name"])
        for deployment in deployments:
            size = str(live_state.properties(deployment).get("instanceType") or "")
            found.append(Doomed(DEPLOYMENT, f"{name}/{deployment['name']}", str(deployment["id"]), size))
        found.append(Doomed(ENDPOINT, name, str(endpoint["id"]), "its address and its keys go with it"))
    found += [
        Doomed(CLUSTER, str(row["name"]), str(row["id"]), "a job that runs on it ends")
        for row in listing.clusters(of, log)
    ]
    return found


def _all(of: AzureClients, log: Log) -> list[Doomed]:
    """Every resource of the group, the workspace first, and the group itself."""
    found = [
        Doomed(str(row["type"]), str(row["name"]), str(row["id"]), REMARKS.get(str(row["type"]).lower(), ""))
        for row in listing.resources(of, log)
    ]
    found.sort(key=lambda doomed: (doomed.kind.lower() != listing.WORKSPACES.lower(), doomed.kind, doomed.name))
    if live_state.get_or_none(of, of.account.group_id, infra.api_version(GROUPS)):
        found.append(Doomed("resource group", of.account.group, of.account.group_id))
    kept = deleted_vaults.find(of, _vault(of), log)
    if kept is not None:
        remark = f"protected until {kept.until}: stays, and a run takes it back" if kept.protected else "purged"
        found.append(Doomed("deleted key vault", kept.name, kept.vault_id, remark))
    return found


def _take_all(of: AzureClients, log: Log) -> list[str]:
    """The workspace and its logs ended for good, then the group, then the vault that Azure keeps of it."""
    # First, so that a teardown that is cut short leaves nobody waiting for a storage account that is gone.
    outputs.forget(of.account)
    _delete(of, listing.workspace_id(of), listing.WORKSPACES_VERSION, log, "forceToPurge=true", even_if_gone=True)
    log_analytics = f"{of.account.group_id}/providers/{LOGS}/{unique_names.names(of.account)['log_analytics']}"
    _delete(of, log_analytics, infra.api_version(LOGS), log, "force=true")
    _delete(of, of.account.group_id, infra.api_version(GROUPS), log)
    _forget_deployment(of, log)
    kept = deleted_vaults.purge(of, _vault(of), log)
    if kept is None:
        return []
    return [
        f"key vault {kept.name}: purge protection forbids ending it before {kept.until}; it costs nothing, and a run "
        "under the same name takes it back"
    ]


def _delete(
    of: AzureClients, address: str, version: str, log: Log, query: str = "", *, even_if_gone: bool = False
) -> None:
    """There is no resource of this id. Asking again for what is going, or gone, changes nothing.

    `even_if_gone` asks also when Azure shows none: of a deleted workspace it keeps the name until it is asked to purge.
    """
    from azure.core.exceptions import HttpResponseError

    name = address.rpartition("/")[2]
    if live_state.get_or_none(of, address, version) is None and not even_if_gone:
        return
    log(f"deleting {name}")
    ask = partial(of.send, "DELETE", f"{address}?api-version={version}{f'&{query}' if query else ''}")
    began = spoken = time.monotonic()
    asked = False
    try:
        while True:
            if not asked:
                asked = _asked(f"deleting {name}", ask, log)
            found = live_state.get_or_none(of, address, version)
            if found is None:
                return
            state = str(live_state.properties(found).get("provisioningState") or "")
            asked = asked and state != "Failed"
            spoken = _word(name, began, spoken, log)
            time.sleep(POLL_SECONDS)
    except HttpResponseError as e:
        raise refused(f"deleting {name}", e) from e


def _asked(what: str, ask: Callable[[], Any], log: Log) -> bool:
    """Whether Azure took the wish; not while the resource is busy. Raises HttpResponseError."""
    from azure.core.exceptions import HttpResponseError

    try:
        with_patience(what, ask, log)
    except HttpResponseError as e:
        if status_of(e) == 404:
            return True
        if status_of(e) in BUSY and code_of(e) not in ("ScopeLocked", "ReadOnlyDisabledSubscription"):
            return False
        raise
    return True


def _word(name: str, began: float, spoken: float, log: Log) -> float:
    now = time.monotonic()
    if now - began > MINUTES * 60:
        raise GaveUp(description=f"{name} is still there after {MINUTES:g} minutes; see the portal, and run again")
    if now - spoken < WORD_EVERY:
        return spoken
    log(f"deleting {name}: {(now - began) / 60:.1f} minutes so far")
    return now


def _forget_deployment(of: AzureClients, log: Log) -> None:
    """The record of the last deployment, which lies in the subscription and not in the group."""
    from azure.core.exceptions import HttpResponseError

    address = (
        f"/subscriptions/{of.account.subscription_id}/providers/Microsoft.Resources/deployments/phi-{of.account.name}"
        "?api-version=2021-04-01"
    )
    try:
        _asked("deleting the deployment's record", partial(of.send, "DELETE", address), log)
    except HttpResponseError as e:
        raise refused("deleting the deployment's record", e) from e


def _vault(of: AzureClients) -> str:
    return unique_names.names(of.account)["key_vault"]
