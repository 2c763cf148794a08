"""Decides whether a resource on Azure belongs to this project, which tags what it creates with the account's name."""

from collections.abc import Mapping
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import names, rest
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import NAME_REMEDY, AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients

TAG = "azd-env-name"
GROUPS = "Microsoft.Resources/resourceGroups"
# Resources that Azure itself adds to a group, untagged: the prefix of the name by resource type. Application Insights
# creates the first two, Defender for Storage the third, named after the storage account that it watches.
CREATED_BY_AZURE = {
    "microsoft.insights/actiongroups": "application insights smart detection",
    "microsoft.alertsmanagement/smartdetectoralertrules": "failure anomalies - ",
    "microsoft.eventgrid/systemtopics": "{storage_account}",
}


def group(clients: AzureClients) -> Mapping[str, Any] | None:
    """The account's resource group; None when it does not exist. Raises AzureRefused."""
    return rest.get_or_none(clients, clients.account.group_id, bicep_template.api_version(GROUPS))


def tagged(account: AzureAccount, resource: Mapping[str, Any]) -> bool:
    """Whether the resource has the tag with the account's name."""
    return (resource.get("tags") or {}).get(TAG) == account.name


def is_ours(account: AzureAccount, resource: Mapping[str, Any]) -> bool:
    """Whether a resource of the group was created by this project, or by Azure on its account."""
    name, kind = str(resource["name"]).lower(), str(resource["type"]).lower()
    given = names.names(account)
    if tagged(account, resource) or name in given.values():
        return True
    return kind in CREATED_BY_AZURE and name.startswith(CREATED_BY_AZURE[kind].format(**given))


def whose(account: AzureAccount, found: Mapping[str, Any]) -> str:
    """A phrase that says to whom a group belongs that is not this project's."""
    other = (found.get("tags") or {}).get(TAG)
    return (
        f"belongs to another environment, {other}" if other else f"was not created by this project: it has no tag {TAG}"
    )


def adopt_remedy(account: AzureAccount) -> str:
    """The remedy for a group of the account's name that is not this project's."""
    return (
        f"{NAME_REMEDY}; or, if this project may use the group, tag it: az tag update --operation Merge "
        f"--tags {TAG}={account.name} --resource-id {account.group_id}"
    )


def region_of(found: Mapping[str, Any]) -> str:
    """The group's region, as the settings spell it."""
    return str(found.get("location") or "").replace(" ", "").lower()


def region_remedy(region: str) -> str:
    return f"set PHI_AZURE_LOCATION={region}, or another PHI_AZURE_NAME"


def require_group(account: AzureAccount, found: Mapping[str, Any], remedy: str = "") -> None:
    """Raise AzureRefused if the group was not created by this project."""
    if not tagged(account, found):
        remedy = remedy or adopt_remedy(account)
        raise AzureRefused(
            description=f"the resource group {account.group} {whose(account, found)}. {remedy}",
            allow_retries=False,
            remedy=remedy,
        )


def require_region(account: AzureAccount, found: Mapping[str, Any]) -> None:
    """Raise AzureRefused if the group is in another region: names depend on the region, so that nothing would be
    found.
    """
    region = region_of(found)
    if region != account.location:
        remedy = region_remedy(region)
        raise AzureRefused(
            description=f"the resource group {account.group} is in {region}, but PHI_AZURE_LOCATION is "
            f"{account.location}: {remedy}",
            allow_retries=False,
            remedy=remedy,
        )
