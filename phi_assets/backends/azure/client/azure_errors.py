"""Turns errors of Azure into one sentence with the cause and the remedy."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from phi_assets.backends.azure.client import portal_links
from phi_assets.errors import BackendError

NOT_AUTHORIZED = re.compile(
    r"[Tt]he client '(?P<who>[^']*)'.*?perform action '(?P<action>[^']+)'.*? (?:over|at) scope '(?P<scope>[^']+)'", re.S
)
VAULT = re.compile(r"[Vv]ault name: (?P<vault>[\w-]+)")
NAMESPACE = re.compile(r"namespace '(?P<namespace>[\w.]+)'")


class AzureRefused(BackendError):
    """Azure refused the request, and a retry would not help."""


class NotSignedIn(BackendError):
    """There is no credential for Azure, or it has expired."""


class GaveUp(BackendError):
    """Azure did not answer, or did not finish, before the timeout."""


# Azure refuses a write while another one on the same resource is in progress. A lock or a disabled subscription answers
# with the same statuses, but a retry never succeeds.
BUSY = frozenset({409, 412})
PERMANENT_CONFLICTS = frozenset({"ScopeLocked", "ReadOnlyDisabledSubscription"})


def is_busy(error: Any) -> bool:
    """Whether a write was refused because another one is in progress, so that a later retry can succeed."""
    return status_of(error) in BUSY and code_of(error) not in PERMANENT_CONFLICTS


def codes(error: Any) -> list[tuple[str, str]]:
    """(code, message) of an error response and of every nested detail, the outermost first."""
    return list(_walk(body_of(error)))


def body_of(error: Any) -> Mapping[str, Any]:
    """The JSON of an error response; an empty mapping when it has none."""
    response = getattr(error, "response", None)
    try:
        body = response.json() if response is not None else {}
    except Exception:  # no body, not JSON, or already streamed: only the status is known
        return {}
    return body if isinstance(body, Mapping) else {}


def cause_of(error: BaseException) -> BaseException:
    """The error response or lost connection that azure-ai-ml wrapped into its own exceptions; else the error."""
    from azure.core.exceptions import AzureError

    cause, seen = error, set[int]()
    while _is_from_azure_ai_ml(cause) and id(cause) not in seen:
        seen.add(id(cause))
        inner = getattr(cause, "inner_exception", None)
        # Its user-facing errors are raised while the response is handled, and refer to it as their context only.
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__ or cause
    known = isinstance(cause, AzureError | BackendError | ConnectionError | TimeoutError)
    return cause if known and not _is_from_azure_ai_ml(cause) else error


def _is_from_azure_ai_ml(error: BaseException) -> bool:
    return type(error).__module__.startswith("azure.ai.ml")


def status_of(error: BaseException) -> int | None:
    """The HTTP status of an Azure error."""
    return getattr(error, "status_code", None)


def code_of(error: BaseException) -> str:
    """The innermost error code, such as AuthorizationFailed; empty when the response has none."""
    header = getattr(error, "error_code", None)  # blob storage sends the code in a header
    if header:
        return str(getattr(header, "value", header))
    pairs = codes(error)
    return pairs[-1][0] if pairs else ""


def refused(doing: str, error: BaseException) -> AzureRefused:
    """The error to raise for a failed call, with its cause and remedy. `doing` is what the call was for."""
    cause, remedy = cause_and_remedy(codes(error) or [(code_of(error), text_of(error))])
    return AzureRefused(description=f"{doing}: {_joined(cause, remedy)}", allow_retries=False, remedy=remedy)


def text_of(error: BaseException) -> str:
    """The text of an error: all lines for azure-ai-ml, whose texts begin with an empty line; else the first line."""
    text = str(error).strip()
    return text if _is_from_azure_ai_ml(error) else text.split("\n")[0]


def cause_with_remedy(errors: list[tuple[str, str]]) -> str:
    """One sentence with the cause and the remedy of the (code, message) pairs of an error response."""
    return _joined(*cause_and_remedy(errors))


def cause_and_remedy(errors: list[tuple[str, str]]) -> tuple[str, str]:
    """The cause and, if known, the remedy. The innermost code with a remedy decides; else the innermost code."""
    for _, message in reversed(errors):
        # Also inside other errors: ARM's preflight validation embeds it in the text of InvalidTemplateDeployment.
        refusal = NOT_AUTHORIZED.search(message)
        if refusal:
            return _lacks_role(refusal)
    if any(SOFT_DELETED in message for _, message in errors):
        return SOFT_DELETED, WORKSPACE_REMEDY
    for code, message in reversed(errors):
        if code in REMEDIES:
            namespace = NAMESPACE.search(message)
            vault = VAULT.search(message)
            remedy = REMEDIES[code].format(
                namespace=namespace["namespace"] if namespace else "<namespace>",
                vault=vault["vault"] if vault else "<vault>",
            )
            return f"{_short(message)} ({code})", remedy
    code, message = errors[-1] if errors else ("", "no reason given")
    return (f"{_short(message)} ({code})" if code else _short(message)), ""


def _joined(cause: str, remedy: str) -> str:
    return f"{cause}. {remedy}" if remedy else cause


def _lacks_role(refusal: re.Match[str]) -> tuple[str, str]:
    principal, action, scope = refusal["who"], refusal["action"], refusal["scope"]
    role = next((role for part, role in ROLES_WITH.items() if part.lower() in action.lower()), "Contributor")
    return (
        f"{principal} is not allowed to perform {action} on {scope}",
        f"Ask an owner for a role that allows it: az role assignment create --assignee {principal} --role '{role}' "
        f"--scope {scope}; then run again",
    )


# The built-in role with the fewest rights that allows an action, by a part of the action's name.
ROLES_WITH = {
    "Microsoft.Authorization/roleAssignments/": "Role Based Access Control Administrator",
    "quota": "Quota Request Operator",
    "/read": "Reader",
}
VAULT_REMEDY = (
    "Azure retains a deleted vault for a while: recover it, az keyvault recover --name {vault}, or purge it, "
    "az keyvault purge --name {vault}; then run again"
)
SOFT_DELETED = "Soft-deleted workspace exists"
WORKSPACE_REMEDY = (
    "Azure ML retains a deleted workspace, and its name, for 14 days: purge it with phi teardown --all, or in the "
    "portal under Azure Machine Learning, Recently deleted; then run again"
)
REGION_REMEDY = "Set PHI_AZURE_LOCATION to a region that offers it: az account list-locations -o table"
QUOTA_REMEDY = (
    f"Request more: {portal_links.quota()}, or set PHI_AZURE_VM_SIZE and PHI_AZURE_LOCATION to what your quota covers"
)
NAME_REMEDY = "Set PHI_AZURE_NAME to another name"
REMEDIES: dict[str, str] = {
    "MissingSubscriptionRegistration": "Register it: az provider register --namespace {namespace} --wait",
    "AuthorizationFailed": "Ask an owner of the subscription for the role, and run again",
    "LinkedAuthorizationFailed": "Ask an owner of the subscription for the role, and run again",
    "RoleAssignmentUpdateNotPermitted": "Delete the assignment that differs: az role assignment delete; run again",
    "InvalidTemplateDeployment": "See the deployment's operations in the portal",
    "LocationNotAvailableForResourceType": REGION_REMEDY,
    "LocationNotAvailable": REGION_REMEDY,
    "LocationNotAvailableForResourceGroup": REGION_REMEDY,
    "InvalidLocation": REGION_REMEDY,
    "NoRegisteredProviderFound": REGION_REMEDY,
    "InvalidResourceLocation": "It exists in another region: set PHI_AZURE_LOCATION to it, or another PHI_AZURE_NAME",
    "InvalidResourceGroupLocation": "The group exists in another region: set PHI_AZURE_LOCATION to it, or another name",
    "SkuNotAvailable": REGION_REMEDY,
    "ConflictError": VAULT_REMEDY,
    "VaultAlreadyExists": VAULT_REMEDY,
    "FlagMustBeSetForRestore": VAULT_REMEDY,
    "StorageAccountAlreadyTaken": NAME_REMEDY,
    "QuotaExceeded": QUOTA_REMEDY,
    "ClusterCoreQuotaReached": QUOTA_REMEDY,
    "SubscriptionNotFound": "Check PHI_AZURE_SUBSCRIPTION_ID against: az account list -o table",
    "InvalidSubscriptionId": "Check PHI_AZURE_SUBSCRIPTION_ID against: az account list -o table",
    "ReadOnlyDisabledSubscription": "The subscription is disabled: see its state with az account show",
    "InvalidAuthenticationTokenTenant": "Sign in to the subscription's own tenant: az login --tenant <tenant>",
    "ScopeLocked": "A resource lock forbids it: az lock list -o table, then az lock delete",
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
