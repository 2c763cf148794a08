"""Deletes what costs money while idle, or everything, including soft-deleted resources, so that its names are free
again.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import names, outputs, rest
from phi_assets.backends.azure.client import names as given
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import AzureRefused, code_of, is_busy, refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import PollTimer, with_retries
from phi_assets.backends.azure.infrastructure import compute, deleted_vaults, live_state, ownership
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Teardown, TeardownAction, TeardownItem

MINUTES = 60.0
FIRST_POLL, LONGEST_POLL = 1.0, 5.0
NOT_REGISTERED = "MissingSubscriptionRegistration"  # the subscription never had a resource of this type

ENDPOINT, DEPLOYMENT, CLUSTER = "online endpoint", "deployment", "cluster"
NOT_OURS = "not created by this project"
LOGS = "Microsoft.OperationalInsights/workspaces"
REMARKS = {
    rest.WORKSPACES.lower(): "permanently, with its jobs, models and registered data",
    "microsoft.storage/storageaccounts": "with every dataset, model and log in it",
}


class AzureTeardown(Teardown):
    """The teardown of one account: outside its resource group it changes only the deployment's record and the
    soft-deleted
    vault and workspace.
    """

    account: dict[str, str]

    @property
    def confirmation(self) -> str:
        return clients(self.account).account.name

    def plan(self, everything: bool, log: Log) -> list[TeardownItem]:
        of = clients(self.account)
        group = ownership.group(of)
        if group is not None:
            ownership.require_region(of.account, group)
        if not everything:
            return _costly(of, "keep", log)
        if group is not None:
            ownership.require_group(of.account, group, f"Delete what you do not need in the portal: {_portal(of)}")
        return [*_costly(of, "block", log), *_all(of, group is not None, log)]

    def take_down(self, everything: bool, log: Log) -> list[str]:
        of = clients(self.account)
        plan = self.plan(everything, log)
        obstacle = self.obstacle(plan)
        if obstacle:
            raise AzureRefused(description=obstacle, allow_retries=False)
        live_state.forget()
        for item in plan:
            # A deployment is deleted with its endpoint.
            if item.kind in (ENDPOINT, CLUSTER) and item.action == "delete":
                delete(of, item.address, rest.WORKSPACES_VERSION, log)
        kept = _take_all(of, log) if everything else []
        live_state.forget()
        return kept

    def obstacle(self, plan: list[TeardownItem]) -> str:
        foreign = ", ".join(f"{each.kind} {each.name}" for each in plan if each.action == "block")
        if not foreign:
            return ""
        return (
            f"{NOT_OURS}, but it would be deleted with the group: {foreign}. Move or delete it in the portal "
            f"({_portal(clients(self.account))}), or tag it "
            f"{ownership.TAG}={self.confirmation} to have it deleted too; then run again"
        )


def _costly(of: AzureClients, others: TeardownAction, log: Log) -> list[TeardownItem]:
    """Endpoints with their deployments, and computes: what costs money while idle, or may.

    `others`: the action for what this project did not create.
    """
    account, found = of.account, list[TeardownItem]()
    for row, deployments in rest.endpoints(of, log):
        mine, name = _mine(account, row, names.endpoint_name(account)), str(row["name"])
        for each in deployments:
            size = str(rest.properties(each).get("instanceType") or "")
            found.append(_item(DEPLOYMENT, f"{name}/{each['name']}", each, size, mine, others))
        found.append(_item(ENDPOINT, name, row, "its address and its keys are deleted too", mine, others))
    for row in rest.computes(of, log):
        mine = _mine(account, row, compute.NAME)
        kind = CLUSTER if rest.is_cluster(row) else str((row.get("properties") or {}).get("computeType"))
        found.append(_item(kind, str(row["name"]), row, "a job that runs on it ends", mine, others))
    return found


def _mine(account: AzureAccount, row: Mapping[str, Any], name: str) -> bool:
    return ownership.tagged(account, row) or str(row["name"]).lower() == name.lower()


def _item(
    kind: str, name: str, row: Mapping[str, Any], remark: str, mine: bool, others: TeardownAction
) -> TeardownItem:
    if mine:
        return TeardownItem(kind, name, str(row["id"]), remark)
    return TeardownItem(kind, name, str(row["id"]), NOT_OURS, others)


def _all(of: AzureClients, group_exists: bool, log: Log) -> list[TeardownItem]:
    """Every resource of the group, the workspace first, then the group itself, and what Azure retains as
    soft-deleted.
    """
    found = [
        _item(kind, str(row["name"]), row, REMARKS.get(kind.lower(), ""), ownership.is_ours(of.account, row), "block")
        for row in rest.resources(of, log)
        for kind in [str(row["type"])]
    ]
    found.sort(key=lambda item: (item.kind.lower() != rest.WORKSPACES.lower(), item.kind, item.name))
    if group_exists:
        found.append(TeardownItem("resource group", of.account.group, of.account.group_id))
    workspace = rest.workspace_id(of)
    if not any(each.address.lower() == workspace.lower() for each in found):
        # Azure has no API that tells whether it retains one.
        name = workspace.rpartition("/")[2]
        found.append(TeardownItem("deleted workspace", name, workspace, "purged, if Azure still retains one"))
    vault = deleted_vaults.find(of, _vault(of).rpartition("/")[2], log)
    if vault is not None and vault.is_at(_vault(of)):
        remark = f"protected until {vault.until}: retained, and recovered by a run" if vault.protected else "purged"
        found.append(
            TeardownItem(
                "deleted key vault", vault.name, vault.vault_id, remark, "keep" if vault.protected else "delete"
            )
        )
    return found


def _take_all(of: AzureClients, log: Log) -> list[str]:
    """Delete the workspace and its logs permanently, then the group, then purge the soft-deleted vault; return what
    stays.
    """
    # First, so that after an interrupted teardown no command waits for a storage account that was deleted.
    outputs.forget(of.account)
    delete(of, rest.workspace_id(of), rest.WORKSPACES_VERSION, log, "forceToPurge=true", even_if_gone=True)
    log_analytics = f"{of.account.group_id}/providers/{LOGS}/{given.names(of.account)['log_analytics']}"
    delete(of, log_analytics, bicep_template.api_version(LOGS), log, "force=true")
    delete(of, of.account.group_id, bicep_template.api_version(ownership.GROUPS), log)
    _forget_deployment(of, log)
    retained = deleted_vaults.purge(of, _vault(of), log)
    if retained is None:
        return []
    return [
        f"key vault {retained.name}: purge protection forbids purging it before {retained.until}; it costs nothing, "
        "and a run under the same name recovers it"
    ]


def _forget_deployment(of: AzureClients, log: Log) -> None:
    """Delete the record of the last deployment, which belongs to the subscription, not to the group."""
    from azure.core.exceptions import HttpResponseError

    address = (
        f"/subscriptions/{of.account.subscription_id}/providers/Microsoft.Resources/deployments/"
        f"{given.deployment_name(of.account)}?api-version=2021-04-01"
    )
    try:
        ask("deleting the deployment's record", partial(of.send, "DELETE", address), log)
    except HttpResponseError as e:
        raise refused("deleting the deployment's record", e) from e


def _portal(of: AzureClients) -> str:
    return f"https://portal.azure.com/#@/resource{of.account.group_id}"


def _vault(of: AzureClients) -> str:
    """The resource id of the account's key vault, whether or not it exists."""
    return f"{of.account.group_id}/providers/{deleted_vaults.VAULTS}/{given.names(of.account)['key_vault']}"


def delete(
    of: AzureClients, address: str, version: str, log: Log, query: str = "", *, even_if_gone: bool = False
) -> None:
    """Delete the resource of this id, and wait until it no longer exists. Idempotent.

    `even_if_gone` sends the request also for a resource that does not exist: Azure retains the name of a soft-deleted
    workspace until it is purged. Raises GaveUp, with Azure's last refusal, when it still exists after MINUTES.
    """
    from azure.core.exceptions import HttpResponseError

    name = address.rpartition("/")[2]
    exists = rest.get_or_none(of, address, version) is not None
    if not exists and not even_if_gone:
        return
    log(f"deleting {name}" if exists else f"purging the deleted {name}, if Azure retains one")
    request = partial(of.send, "DELETE", f"{address}?api-version={version}{f'&{query}' if query else ''}")
    waiting = PollTimer(f"deleting {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
    accepted, doing = False, "it still exists"
    try:
        while True:
            if not accepted:
                refusal = ask(f"deleting {name}", request, log)
                accepted = not refusal
                if refusal:
                    doing = refusal
                    waiting.log_once(f"{refusal}; retrying until that has ended")
            found = rest.get_or_none(of, address, version)
            if found is None and accepted:
                return
            state = str(rest.properties(found).get("provisioningState") or "") if found else ""
            accepted = accepted and state != "Failed"
            waiting.pause(doing, "see the portal, and run again")
    except HttpResponseError as e:
        raise refused(f"deleting {name}", e) from e


def ask(what: str, request: Callable[[], Any], log: Log) -> str:
    """Send a delete request; return Azure's refusal if the resource is busy, else empty. Raises HttpResponseError."""
    from azure.core.exceptions import HttpResponseError

    try:
        with_retries(what, request, log)
    except HttpResponseError as e:
        if status_of(e) == 404 or code_of(e) == NOT_REGISTERED:
            return ""
        if is_busy(e):
            return str(refused(what, e).description)
        raise
    return ""
