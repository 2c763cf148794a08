"""Resource groups, managed identities, key vaults, Log Analytics, Application Insights and registries."""

import uuid

from azure_emulator.identity.identities import TENANT
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.resource_types import Kind, Put
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState


def _group(put: Put) -> None:
    put.properties.update(provisioningState="Succeeded")


def _identity(put: Put) -> None:
    if put.old:
        known = {key: put.old.properties[key] for key in ("principalId", "clientId", "tenantId")}
    else:
        principal = put.emulator.directory.new_identity(put.name)
        known = {"principalId": principal.oid, "clientId": principal.client_id, "tenantId": TENANT}
    put.properties.update(known)


def _vault(put: Put) -> None:
    if put.properties.get("createMode") == "recover" and not put.old:
        # Azure restores the deleted vault and ignores the rest of the PUT.
        put.body = put.emulator.soft_deleted.recovered_vault(put.id)
        return
    put.properties.pop("createMode", None)
    if not put.old and put.name.lower() in put.emulator.soft_deleted.vaults:
        raise AzureError(
            409,
            "ConflictError",
            f"A vault with the same name already exists in deleted state. You need to either recover or purge "
            f"existing key vault. Follow this link https://go.microsoft.com/fwlink/?linkid=2149745 for more "
            f"information on soft delete. Vault name: {put.name}",
        )
    if put.properties.get("enablePurgeProtection") is False:
        raise AzureError(
            400,
            "BadRequest",
            'The property "enablePurgeProtection" cannot be set to false. Enabling the purge protection for a vault '
            "is an irreversible action.",
        )
    if put.old and put.old.properties.get("enablePurgeProtection"):
        put.properties["enablePurgeProtection"] = True  # a PUT without it does not disable it
    put.default(
        enableSoftDelete=True,
        softDeleteRetentionInDays=90,
        enableRbacAuthorization=False,
        accessPolicies=[],
        publicNetworkAccess="Enabled",
        tenantId=TENANT,
    )
    put.properties["vaultUri"] = f"https://{put.name.lower()}.vault.azure.net/"


def _vault_settled(emulator: EmulatorState, resource: Resource) -> None:
    if emulator.resources.find(resource.id) is None:  # deleted meanwhile: it stays soft-deleted
        return
    emulator.soft_deleted.vaults.pop(resource.body["name"].lower(), None)


def _vault_dropped(emulator: EmulatorState, resource: Resource) -> None:
    emulator.soft_deleted.add_vault(resource.body)


def _insights(put: Put) -> None:
    key = put.stored_or_new("InstrumentationKey", lambda: str(uuid.uuid4()))
    put.default(publicNetworkAccessForIngestion="Enabled", publicNetworkAccessForQuery="Enabled", RetentionInDays=90)
    put.properties.update(
        ApplicationId=put.name,
        AppId=put.stored_or_new("AppId", lambda: str(uuid.uuid4())),
        InstrumentationKey=key,
        ConnectionString=f"InstrumentationKey={key};IngestionEndpoint=https://{put.body['location']}.in.applicationinsights.azure.com/",
        TenantId=put.id.split("/")[2],
    )


def _logs(put: Put) -> None:
    put.default(retentionInDays=30, publicNetworkAccessForIngestion="Enabled", publicNetworkAccessForQuery="Enabled")
    put.properties["customerId"] = put.stored_or_new("customerId", lambda: str(uuid.uuid4()))


def _registry(put: Put) -> None:
    put.default(adminUserEnabled=False, anonymousPullEnabled=False, publicNetworkAccess="Enabled")
    put.properties["loginServer"] = f"{put.name.lower()}.azurecr.io"


KINDS = (
    Kind("Microsoft.Resources/resourceGroups", _group),
    Kind("Microsoft.ManagedIdentity/userAssignedIdentities", _identity, name=r"[A-Za-z0-9][A-Za-z0-9_-]{2,127}"),
    Kind(
        "Microsoft.KeyVault/vaults",
        _vault,
        settle=_vault_settled,
        dropped=_vault_dropped,
        name=r"(?!.*--)[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]",
        name_error=(
            "VaultNameNotValid",
            "The vault name '{name}' is invalid. A vault's name must be between 3-24 alphanumeric characters. The name "
            "must begin with a letter, end with a letter or digit, and not contain consecutive hyphens.",
        ),
        seconds=1.0,
    ),
    Kind("Microsoft.Insights/components", _insights),
    Kind("Microsoft.OperationalInsights/workspaces", _logs, name=r"[A-Za-z0-9][A-Za-z0-9-]{2,61}[A-Za-z0-9]"),
    Kind(
        "Microsoft.ContainerRegistry/registries",
        _registry,
        name=r"[A-Za-z0-9]{5,50}",
        name_error=(
            "InvalidResourceName",
            "The registry name '{name}' is invalid. Names are 5-50 alphanumeric characters.",
        ),
        seconds=1.0,
    ),
)
