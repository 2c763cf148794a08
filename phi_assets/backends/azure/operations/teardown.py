"""Taking down what was made: what costs money while nobody uses it, or everything, so that its names are free again."""

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
from phi_assets.backends.azure.infrastructure import compute, deleted_vaults, deployment, live_state, ownership
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Teardown, TeardownAction, TeardownItem

MINUTES = 60.0
FIRST_POLL, LONGEST_POLL = 1.0, 5.0
NEVER_WAS = "MissingSubscriptionRegistration"  # a subscription that has never had anything of the kind

ENDPOINT, DEPLOYMENT, CLUSTER = "online endpoint", "deployment", "cluster"
NOT_OURS = "not made by this project"
LOGS = "Microsoft.OperationalInsights/workspaces"
REMARKS = {
    rest.WORKSPACES.lower(): "for good, with its jobs, models and registered data",
    "microsoft.storage/storageaccounts": "with every dataset, model and log in it",
}


class AzureTeardown(Teardown):
    """Of one account: nothing outside its resource group is touched, but the name of its deleted vault."""

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
            ownership.require_group(
                of.account, group, f"What you do not need of it, delete in the portal: {_portal(of)}"
            )
        return [*_costly(of, "block", log), *_all(of, group is not None, log)]

    def take_down(self, everything: bool, log: Log) -> list[str]:
        of = clients(self.account)
        plan = self.plan(everything, log)
        obstacle = self.obstacle(plan)
        if obstacle:
            raise AzureRefused(description=obstacle, allow_retries=False)
        live_state.forget()
        for item in plan:
            # A deployment goes with its endpoint.
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
            f"{NOT_OURS}, and it would go with the group: {foreign}. Move or delete it in the portal "
            f"({_portal(clients(self.account))}), or tag it "
            f"{ownership.TAG}={self.confirmation} to have it deleted too; then run again"
        )


def _costly(of: AzureClients, others: TeardownAction, log: Log) -> list[TeardownItem]:
    """Endpoints with their deployments, and clusters: what costs money while it stands idle, or may.

    `others`: the action for what this project did not make.
    """
    account, found = of.account, list[TeardownItem]()
    for row, deployments in rest.endpoints(of, log):
        mine, name = _mine(account, row, names.endpoint_name(account)), str(row["name"])
        for each in deployments:
            size = str(rest.properties(each).get("instanceType") or "")
            found.append(_item(DEPLOYMENT, f"{name}/{each['name']}", each, size, mine, others))
        found.append(_item(ENDPOINT, name, row, "its address and its keys go with it", mine, others))
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


def _all(of: AzureClients, standing: bool, log: Log) -> list[TeardownItem]:
    """Every resource of the group, the workspace first, the group itself, and what Azure keeps of what was deleted."""
    found = [
        _item(kind, str(row["name"]), row, REMARKS.get(kind.lower(), ""), ownership.is_ours(of.account, row), "block")
        for row in rest.resources(of, log)
        for kind in [str(row["type"])]
    ]
    found.sort(key=lambda item: (item.kind.lower() != rest.WORKSPACES.lower(), item.kind, item.name))
    if standing:
        found.append(TeardownItem("resource group", of.account.group, of.account.group_id))
    workspace = rest.workspace_id(of)
    if not any(each.address.lower() == workspace.lower() for each in found):
        # Azure does not say whether it keeps one.
        name = workspace.rpartition("/")[2]
        found.append(TeardownItem("deleted workspace", name, workspace, "if Azure still keeps one: ended for good"))
    kept = deleted_vaults.find(of, _vault(of).rpartition("/")[2], log)
    if kept is not None and kept.is_at(_vault(of)):
        remark = f"protected until {kept.until}: stays, and a run takes it back" if kept.protected else "purged"
        found.append(
            TeardownItem("deleted key vault", kept.name, kept.vault_id, remark, "keep" if kept.protected else "delete")
        )
    return found


def _take_all(of: AzureClients, log: Log) -> list[str]:
    """The workspace and its logs ended for good, then the group, then the vault that Azure keeps of it."""
    # First, so that a teardown that is cut short leaves nobody waiting for a storage account that is gone.
    outputs.forget(of.account)
    delete(of, rest.workspace_id(of), rest.WORKSPACES_VERSION, log, "forceToPurge=true", even_if_gone=True)
    log_analytics = f"{of.account.group_id}/providers/{LOGS}/{given.names(of.account)['log_analytics']}"
    delete(of, log_analytics, bicep_template.api_version(LOGS), log, "force=true")
    delete(of, of.account.group_id, bicep_template.api_version(ownership.GROUPS), log)
    _forget_deployment(of, log)
    kept = deleted_vaults.purge(of, _vault(of), log)
    if kept is None:
        return []
    return [
        f"key vault {kept.name}: purge protection forbids ending it before {kept.until}; it costs nothing, and a run "
        "under the same name takes it back"
    ]


def _forget_deployment(of: AzureClients, log: Log) -> None:
    """The record of the last deployment, which lies in the subscription and not in the group."""
    from azure.core.exceptions import HttpResponseError

    address = (
        f"/subscriptions/{of.account.subscription_id}/providers/Microsoft.Resources/deployments/"
        f"{deployment.name_of(of.account)}?api-version=2021-04-01"
    )
    try:
        ask("deleting the deployment's record", partial(of.send, "DELETE", address), log)
    except HttpResponseError as e:
        raise refused("deleting the deployment's record", e) from e


def _portal(of: AzureClients) -> str:
    return f"https://portal.azure.com/#@/resource{of.account.group_id}"


def _vault(of: AzureClients) -> str:
    """The id that the account's key vault has, or had."""
    return f"{of.account.group_id}/providers/{deleted_vaults.VAULTS}/{given.names(of.account)['key_vault']}"


def delete(
    of: AzureClients, address: str, version: str, log: Log, query: str = "", *, even_if_gone: bool = False
) -> None:
    """There is no resource of this id. Asking again for what is going, or gone, changes nothing.

    `even_if_gone` asks also when Azure shows none: of a deleted workspace it keeps the name until it is asked to purge.
    Raises GaveUp, with Azure's last refusal, when it is still there after MINUTES.
    """
    from azure.core.exceptions import HttpResponseError

    name = address.rpartition("/")[2]
    standing = rest.get_or_none(of, address, version) is not None
    if not standing and not even_if_gone:
        return
    log(f"deleting {name}" if standing else f"ending the deleted {name} for good, if Azure keeps one")
    wish = partial(of.send, "DELETE", f"{address}?api-version={version}{f'&{query}' if query else ''}")
    waiting = PollTimer(f"deleting {name}", log, MINUTES, FIRST_POLL, LONGEST_POLL)
    asked, doing = False, "it is still there"
    try:
        while True:
            if not asked:
                refusal = ask(f"deleting {name}", wish, log)
                asked = not refusal
                if refusal:
                    doing = refusal
                    waiting.log_once(f"{refusal}; asking again until it has settled")
            found = rest.get_or_none(of, address, version)
            if found is None and asked:
                return
            state = str(rest.properties(found).get("provisioningState") or "") if found else ""
            asked = asked and state != "Failed"
            waiting.pause(doing, "see the portal, and run again")
    except HttpResponseError as e:
        raise refused(f"deleting {name}", e) from e


def ask(what: str, wish: Callable[[], Any], log: Log) -> str:
    """Azure's refusal while the resource is busy; empty when it took the wish. Raises HttpResponseError."""
    from azure.core.exceptions import HttpResponseError

    try:
        with_retries(what, wish, log)
    except HttpResponseError as e:
        if status_of(e) == 404 or code_of(e) == NEVER_WAS:
            return ""
        if is_busy(e):
            return str(refused(what, e).description)
        raise
    return ""
