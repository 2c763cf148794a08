"""What Azure refused, in one sentence that names the remedy."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from phi_assets.backends.azure.client import portal_links
from phi_assets.errors import BackendError

MAY_NOT = re.compile(
    r"[Tt]he client '(?P<who>[^']*)'.*?perform action '(?P<action>[^']+)'.*? (?:over|at) scope '(?P<scope>[^']+)'", re.S
)
VAULT = re.compile(r"[Vv]ault name: (?P<vault>[\w-]+)")
NAMESPACE = re.compile(r"namespace '(?P<namespace>[\w.]+)'")


class AzureRefused(BackendError):
    """Azure said no, and asking again would not help."""


class NotSignedIn(BackendError):
    """No credential for Azure, or one that has expired."""


class GaveUp(BackendError):
    """Azure did not answer for as long as was worth waiting."""


# Azure refuses a write while another on the same resource is under way; a lock and a policy are refused for good.
BUSY = frozenset({409, 412})
FOR_GOOD = frozenset({"ScopeLocked", "ReadOnlyDisabledSubscription"})


def is_busy(error: Any) -> bool:
    """Whether a write was refused because of another that is under way, so that it is worth asking again."""
    return status_of(error) in BUSY and code_of(error) not in FOR_GOOD


def codes(error: Any) -> list[tuple[str, str]]:
    """(code, message) of an answer of Azure, the outermost first, with every nested detail."""
    return list(_walk(body_of(error)))


def body_of(error: Any) -> Mapping[str, Any]:
    """The JSON of an error response; an empty mapping when it has none."""
    response = getattr(error, "response", None)
    try:
        body = response.json() if response is not None else {}
    except Exception:  # no body, a body that is not JSON, or one that was streamed away: the status must do
        return {}
    return body if isinstance(body, Mapping) else {}


def cause_of(error: BaseException) -> BaseException:
    """The answer, or the lost connection, that azure-ai-ml wrapped into exceptions of its own; else the error."""
    from azure.core.exceptions import AzureError

    found, seen = error, set[int]()
    while _is_sdk_s_own(found) and id(found) not in seen:
        seen.add(id(found))
        inner = getattr(found, "inner_exception", None)
        # Its words for a person are raised while the answer is handled, and name it as their context only.
        found = inner if isinstance(inner, BaseException) else found.__cause__ or found.__context__ or found
    told = isinstance(found, AzureError | BackendError | ConnectionError | TimeoutError)
    return found if told and not _is_sdk_s_own(found) else error


def _is_sdk_s_own(error: BaseException) -> bool:
    return type(error).__module__.startswith("azure.ai.ml")


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an Azure error."""
    return getattr(error, "status_code", None)


def code_of(error: BaseException) -> str:
    """The innermost error code, such as AuthorizationFailed; empty when the answer had none."""
    named = getattr(error, "error_code", None)  # blob storage says it in a header
    if named:
        return str(getattr(named, "value", named))
    found = codes(error)
    return found[-1][0] if found else ""


def refused(doing: str, error: BaseException) -> AzureRefused:
    """The failure that a person reads for an error of a call."""
    cause, remedy = parted(codes(error) or [(code_of(error), text_of(error))])
    return AzureRefused(description=f"{doing}: {_joined(cause, remedy)}", allow_retries=False, remedy=remedy)


def text_of(error: BaseException) -> str:
    """What an error says of itself: all of azure-ai-ml's words, which begin with an empty line, else the first line."""
    words = str(error).strip()
    return words if _is_sdk_s_own(error) else words.split("\n")[0]


def sentence(found: list[tuple[str, str]]) -> str:
    """The cause and the remedy of an answer's codes."""
    return _joined(*parted(found))


def parted(found: list[tuple[str, str]]) -> tuple[str, str]:
    """The cause, and the remedy where one is known. The innermost code that is known decides, else the innermost."""
    for _, message in reversed(found):
        # Also within other errors: a deployment's preflight puts it into the text of InvalidTemplateDeployment.
        refusal = MAY_NOT.search(message)
        if refusal:
            return _lacks_role(refusal)
    if any(SOFT_DELETED in message for _, message in found):
        return SOFT_DELETED, WORKSPACE_CURE
    for code, message in reversed(found):
        if code in REMEDIES:
            namespace = NAMESPACE.search(message)
            vault = VAULT.search(message)
            remedy = REMEDIES[code].format(
                namespace=namespace["namespace"] if namespace else "<namespace>",
                vault=vault["vault"] if vault else "<vault>",
            )
            return f"{_short(message)} ({code})", remedy
    code, message = found[-1] if found else ("", "no reason given")
    return (f"{_short(message)} ({code})" if code else _short(message)), ""


def _joined(cause: str, remedy: str) -> str:
    return f"{cause}. {remedy}" if remedy else cause


def _lacks_role(refusal: re.Match[str]) -> tuple[str, str]:
    who, action, scope = refusal["who"], refusal["action"], refusal["scope"]
    role = next((role for part, role in ROLES_WITH.items() if part.lower() in action.lower()), "Contributor")
    return (
        f"{who} may not do {action} on {scope}",
        f"Ask an owner for a role that may: az role assignment create --assignee {who} --role '{role}' "
        f"--scope {scope}; then run again",
    )


# The least common role that has an action, by a part of the action's name.
ROLES_WITH = {
    "Microsoft.Authorization/roleAssignments/": "Role Based Access Control Administrator",
    "quota": "Quota Request Operator",
    "/read": "Reader",
}
VAULT_CURE = (
    "Azure keeps a deleted vault for a while: take it back, az keyvault recover --name {vault}, or end it, "
    "az keyvault purge --name {vault}; then run again"
)
SOFT_DELETED = "Soft-deleted workspace exists"
WORKSPACE_CURE = (
    "Azure ML keeps a deleted workspace, and its name, for 14 days: end it with phi teardown --all, or in the portal "
    "under Azure Machine Learning, Recently deleted; then run again"
)
REGION_CURE = "Set PHI_AZURE_LOCATION to a region that offers it: az account list-locations -o table"
QUOTA_CURE = f"Ask for more: {portal_links.quota()}, or set PHI_AZURE_VM_SIZE and PHI_AZURE_LOCATION to what you have"
NAME_CURE = "Set PHI_AZURE_NAME to another name"
REMEDIES: dict[str, str] = {
    "MissingSubscriptionRegistration": "Register it: az provider register --namespace {namespace} --wait",
    "AuthorizationFailed": "Ask an owner of the subscription for the role, and run again",
    "LinkedAuthorizationFailed": "Ask an owner of the subscription for the role, and run again",
    "RoleAssignmentUpdateNotPermitted": "Delete the assignment that differs: az role assignment delete; run again",
    "InvalidTemplateDeployment": "Look at the deployment's operations in the portal",
    "LocationNotAvailableForResourceType": REGION_CURE,
    "LocationNotAvailable": REGION_CURE,
    "LocationNotAvailableForResourceGroup": REGION_CURE,
    "InvalidLocation": REGION_CURE,
    "NoRegisteredProviderFound": REGION_CURE,
    "InvalidResourceLocation": "It exists in another region: set PHI_AZURE_LOCATION to it, or another PHI_AZURE_NAME",
    "InvalidResourceGroupLocation": "The group exists in another region: set PHI_AZURE_LOCATION to it, or another name",
    "SkuNotAvailable": REGION_CURE,
    "ConflictError": VAULT_CURE,
    "VaultAlreadyExists": VAULT_CURE,
    "FlagMustBeSetForRestore": VAULT_CURE,
    "StorageAccountAlreadyTaken": NAME_CURE,
    "QuotaExceeded": QUOTA_CURE,
    "ClusterCoreQuotaReached": QUOTA_CURE,
    "SubscriptionNotFound": "Check PHI_AZURE_SUBSCRIPTION_ID against: az account list -o table",
    "InvalidSubscriptionId": "Check PHI_AZURE_SUBSCRIPTION_ID against: az account list -o table",
    "ReadOnlyDisabledSubscription": "The subscription is disabled: see its state with az account show",
    "InvalidAuthenticationTokenTenant": "Sign in to the subscription's own tenant: az login --tenant <tenant>",
    "ScopeLocked": "A lock forbids it: az lock list -o table, then az lock delete",
    "DisallowedByPolicy": "A policy of your organisation forbids it: ask its owner for an exemption",
    "RequestDisallowedByPolicy": "A policy of your organisation forbids it: ask its owner for an exemption",
}


def _short(message: str) -> str:
    line = " ".join(message.split())
    return (line if len(line) <= 400 else f"{line[:400]} …").rstrip(".")


def _walk(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return
    if error.get("code") or error.get("message"):
        yield str(error.get("code", "")), str(error.get("message", ""))
    for detail in error.get("details") or []:
        yield from _walk(detail)
    if isinstance(error.get("innererror"), Mapping) and error["innererror"].get("message"):
        yield from _walk(error["innererror"])
