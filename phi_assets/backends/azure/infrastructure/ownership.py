"""Whose a thing on Azure is: this project tags what it makes with the account's name."""

from collections.abc import Mapping
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import names, rest
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import NAME_REMEDY, AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients

TAG = "azd-env-name"
GROUPS = "Microsoft.Resources/resourceGroups"
# What Azure adds to a group by itself, without a tag: the beginning of its name by its type. Application Insights makes
# the first two, Defender for Storage the third, named for the account that it watches.
AZURES_OWN = {
    "microsoft.insights/actiongroups": "application insights smart detection",
    "microsoft.alertsmanagement/smartdetectoralertrules": "failure anomalies - ",
    "microsoft.eventgrid/systemtopics": "{storage_account}",
}


def group(clients: AzureClients) -> Mapping[str, Any] | None:
    """The account's resource group; None when there is none. Raises AzureRefused."""
    return rest.get_or_none(clients, clients.account.group_id, bicep_template.api_version(GROUPS))


def tagged(account: AzureAccount, resource: Mapping[str, Any]) -> bool:
    """Whether the account's name stands on it."""
    return (resource.get("tags") or {}).get(TAG) == account.name


def is_ours(account: AzureAccount, resource: Mapping[str, Any]) -> bool:
    """Whether a resource of the group was made by this project, or by Azure because of it."""
    name, kind = str(resource["name"]).lower(), str(resource["type"]).lower()
    given = names.names(account)
    if tagged(account, resource) or name in given.values():
        return True
    return kind in AZURES_OWN and name.startswith(AZURES_OWN[kind].format(**given))


def whose(account: AzureAccount, found: Mapping[str, Any]) -> str:
    """In words, whose a group is that is not ours."""
    other = (found.get("tags") or {}).get(TAG)
    return f"is of another environment, {other}" if other else f"was not made by this project: it has no tag {TAG}"


def adopt_remedy(account: AzureAccount) -> str:
    """What to do about a group of our name that is not ours."""
    return (
        f"{NAME_REMEDY}; or, if this project may have the group, tag it: az tag update --operation Merge "
        f"--tags {TAG}={account.name} --resource-id {account.group_id}"
    )


def region_of(found: Mapping[str, Any]) -> str:
    """The group's region, as the settings spell it."""
    return str(found.get("location") or "").replace(" ", "").lower()


def region_remedy(region: str) -> str:
    return f"set PHI_AZURE_LOCATION={region}, or another PHI_AZURE_NAME"


def require_group(account: AzureAccount, found: Mapping[str, Any], remedy: str = "") -> None:
    """Raises AzureRefused for a group of our name that another made."""
    if not tagged(account, found):
        remedy = remedy or adopt_remedy(account)
        raise AzureRefused(
            description=f"the resource group {account.group} {whose(account, found)}. {remedy}",
            allow_retries=False,
            remedy=remedy,
        )


def require_region(account: AzureAccount, found: Mapping[str, Any]) -> None:
    """Raises AzureRefused when the group is in another region: every name would be another, and nothing be found."""
    region = region_of(found)
    if region != account.location:
        remedy = region_remedy(region)
        raise AzureRefused(
            description=f"the resource group {account.group} is in {region}, and PHI_AZURE_LOCATION is "
            f"{account.location}: {remedy}",
            allow_retries=False,
            remedy=remedy,
        )
