"""Storage accounts, their blob service and containers."""

from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_ids import parent_of
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource, now


def _account(put: Put) -> None:
    if not put.old and put.emulator.name_is_taken(put.id):
        raise AzureError(
            409, "StorageAccountAlreadyTaken", f"The storage account named {put.name} is already taken.", target="name"
        )
    if not put.old:  # a new account is empty, even if a deleted one had its name
        put.emulator.blobs.store.empty_account(put.name)
    put.default(
        allowBlobPublicAccess=False,
        allowSharedKeyAccess=True,
        minimumTlsVersion="TLS1_2",
        publicNetworkAccess="Enabled",
        supportsHttpsTrafficOnly=True,
        accessTier="Hot",
        networkAcls={"bypass": "AzureServices", "defaultAction": "Allow", "ipRules": [], "virtualNetworkRules": []},
    )
    put.properties.update(
        primaryLocation=put.body["location"],
        statusOfPrimary="available",
        creationTime=put.stored_or_new("creationTime", now),
        primaryEndpoints={
            service: f"https://{put.name}.{service}.core.windows.net/" for service in ("blob", "dfs", "file", "queue")
        },
    )


def _container(put: Put) -> None:
    put.default(publicAccess="None", hasImmutabilityPolicy=False, hasLegalHold=False)


def _make_container(emulator, resource: Resource) -> None:
    emulator.blobs.ensure_container(account_of(resource.id), resource.body["name"])


def account_of(id: str) -> str:
    """Return the account's name from a container's id."""
    return parent_of(parent_of(id)).rsplit("/", 1)[-1].lower()


KINDS = (
    Kind(
        "Microsoft.Storage/storageAccounts",
        _account,
        name=r"[a-z0-9]{3,24}",
        name_error=(
            "AccountNameInvalid",
            "{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in "
            "length and use numbers and lower-case letters only.",
        ),
        seconds=1.0,
    ),
    Kind("Microsoft.Storage/storageAccounts/blobServices", located=False),
    Kind(
        "Microsoft.Storage/storageAccounts/blobServices/containers",
        _container,
        settle=_make_container,
        located=False,
        name=r"(?!.*--)[a-z0-9$][a-z0-9-]{2,62}",
    ),
)
