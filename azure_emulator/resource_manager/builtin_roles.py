"""The built-in roles that the emulator knows, as Microsoft's "Azure built-in roles" reference lists them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """A role definition: control-plane actions and data actions."""

    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()


_CONTAINERS = "Microsoft.Storage/storageAccounts/blobServices/containers"
_BLOBS = f"{_CONTAINERS}/blobs"
_DELEGATION = "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"
_ML = "Microsoft.MachineLearningServices/workspaces"
_COSMOS = "Microsoft.DocumentDB/databaseAccounts"
_COSMOS_READ = (
    f"{_COSMOS}/readMetadata",
    f"{_COSMOS}/sqlDatabases/containers/items/read",
    f"{_COSMOS}/sqlDatabases/containers/executeQuery",
    f"{_COSMOS}/sqlDatabases/containers/readChangeFeed",
)

ROLES: dict[str, Role] = {
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635": Role("Owner", ("*",)),
    "b24988ac-6180-42a0-ab88-20f7382dd24c": Role(
        "Contributor",
        ("*",),
        (
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
            "Microsoft.Blueprint/blueprintAssignments/write",
            "Microsoft.Blueprint/blueprintAssignments/delete",
            "Microsoft.Compute/galleries/share/action",
        ),
    ),
    "acdd72a7-3385-48ef-bd42-f606fba81ae7": Role("Reader", ("*/read",)),
    "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9": Role(
        "User Access Administrator", ("*/read", "Microsoft.Authorization/*", "Microsoft.Support/*")
    ),
    "f58310d9-a9f6-439a-9e8d-f62e7b41a168": Role(
        "Role Based Access Control Administrator",
        (
            "*/read",
            "Microsoft.Authorization/roleAssignments/write",
            "Microsoft.Authorization/roleAssignments/delete",
            "Microsoft.Support/*",
        ),
    ),
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": Role(
        "Storage Blob Data Owner", (f"{_CONTAINERS}/*", _DELEGATION), (), (f"{_BLOBS}/*",)
    ),
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": Role(
        "Storage Blob Data Contributor",
        (f"{_CONTAINERS}/delete", f"{_CONTAINERS}/read", f"{_CONTAINERS}/write", _DELEGATION),
        (),
        (
            f"{_BLOBS}/delete",
            f"{_BLOBS}/read",
            f"{_BLOBS}/write",
            f"{_BLOBS}/move/action",
            f"{_BLOBS}/add/action",
        ),
    ),
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": Role(
        "Storage Blob Data Reader", (f"{_CONTAINERS}/read", _DELEGATION), (), (f"{_BLOBS}/read",)
    ),
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": Role("AcrPull", ("Microsoft.ContainerRegistry/registries/pull/read",)),
    "3913510d-42f4-4e42-8a64-420c390055eb": Role(
        "Monitoring Metrics Publisher", ("Microsoft.Insights/Register/Action",), (), ("Microsoft.Insights/*/write",)
    ),
    "8311e382-0749-4cb8-b61a-304f252e45ec": Role(
        "AcrPush",
        ("Microsoft.ContainerRegistry/registries/pull/read", "Microsoft.ContainerRegistry/registries/push/write"),
    ),
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": Role(
        "AzureML Data Scientist",
        (f"{_ML}/*/read", f"{_ML}/*/action", f"{_ML}/*/delete", f"{_ML}/*/write"),
        (
            f"{_ML}/delete",
            f"{_ML}/write",
            f"{_ML}/computes/*/write",
            f"{_ML}/computes/*/delete",
            f"{_ML}/computes/listKeys/action",
            f"{_ML}/listKeys/action",
        ),
    ),
    "e503ece1-11d0-4e8e-8e2c-7a6c3bf38815": Role("AzureML Compute Operator", (f"{_ML}/computes/*",)),
    "ea01e6af-a1c1-4350-9563-ad00f8c72ec5": Role(
        "Azure Machine Learning Workspace Connection Secrets Reader",
        (f"{_ML}/connections/listsecrets/action", f"{_ML}/metadata/secrets/read"),
    ),
    "f1a07417-d97a-45cb-824c-7a7467783830": Role(
        "Managed Identity Operator",
        (
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
            "Microsoft.Resources/deployments/*",
        ),
    ),
    "0e5f05e5-9ab9-446b-b98d-1e2157c94125": Role(
        "Quota Request Operator",
        ("Microsoft.Capacity/*", "Microsoft.Quota/*", "Microsoft.Support/*", "Microsoft.Authorization/*/read"),
    ),
    "00482a5a-887f-4fb3-b363-3b7fe8e74483": Role(
        "Key Vault Administrator", ("Microsoft.KeyVault/vaults/*/read",), (), ("Microsoft.KeyVault/vaults/*",)
    ),
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": Role(
        "Key Vault Secrets Officer", (), (), ("Microsoft.KeyVault/vaults/secrets/*",)
    ),
    "4633458b-17de-408a-b874-0445c86b69e6": Role(
        "Key Vault Secrets User", (), (), ("Microsoft.KeyVault/vaults/secrets/getSecret/action",)
    ),
}
# Cosmos DB's own definitions, assigned by sqlRoleAssignments and not by Microsoft.Authorization.
COSMOS_ROLES: dict[str, Role] = {
    "00000000-0000-0000-0000-000000000001": Role("Cosmos DB Built-in Data Reader", (), (), _COSMOS_READ),
    "00000000-0000-0000-0000-000000000002": Role(
        "Cosmos DB Built-in Data Contributor",
        (),
        (),
        (
            f"{_COSMOS}/readMetadata",
            f"{_COSMOS}/sqlDatabases/containers/*",
            f"{_COSMOS}/sqlDatabases/containers/items/*",
        ),
    ),
}


def role_of(guid: str) -> Role:
    """Return the definition of an Azure or Cosmos DB role. Raises KeyError."""
    return ROLES[guid] if guid in ROLES else COSMOS_ROLES[guid]


def role_id(name: str) -> str:
    """Return the GUID of a built-in role of Azure or Cosmos DB. Raises KeyError."""
    for guid, role in {**ROLES, **COSMOS_ROLES}.items():
        if role.name == name:
            return guid
    raise KeyError(f"no built-in role {name!r}; known are {sorted(role.name for role in ROLES.values())}")
