"""Checks the sign-in, the subscription, the rights in it, and what it offers in the region."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import rest
from phi_assets.backends.azure.client.azure_errors import REGION_REMEDY, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Diagnosis

MINUTES = 2.0
SUBSCRIPTIONS = "2022-12-01"
PERMISSIONS = "2022-04-01"
MACHINE_LEARNING = "Microsoft.MachineLearningServices"
MACHINE_LEARNING_VERSION = "2025-09-01"
CHECK_AGAIN = "fix what prevented reading it, and check again"
STATES = {"Enabled": "ok", "Warned": "warning", "PastDue": "warning"}

# Actions of a run, and the built-in role with the fewest rights that allows each.
NEEDED = {
    "Microsoft.Resources/subscriptions/resourceGroups/write": "Contributor",
    "Microsoft.Resources/deployments/write": "Contributor",
    "Microsoft.MachineLearningServices/workspaces/write": "Contributor",
    "Microsoft.Authorization/roleAssignments/write": "Role Based Access Control Administrator",
}


class NotChecked(Exception):
    """A check that cannot run yet, and its remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Registrations:
    """The state of every resource provider that the graph needs, and the errors of those that could not be read."""

    states: Mapping[str, str]
    unread: Mapping[str, BackendError]


@dataclass(frozen=True)
class Rights:
    """The permissions of the signed-in principal on the subscription, as Azure lists them."""

    rows: tuple[Mapping[str, Any], ...]

    def allow(self, action: str) -> bool:
        return any(
            _matches(row.get("actions") or (), action) and not _matches(row.get("notActions") or (), action)
            for row in self.rows
        )


def credential(clients: AzureClients, log: Log) -> Diagnosis:
    """Check the sign-in. Raises NotSignedIn."""
    principal = clients.principal()
    how = clients.credential().source() or "a credential"
    kind = "a user" if principal.kind == "User" else "a service principal"
    return Diagnosis("credential", "ok", f"signed in as {kind}, object {principal.object_id}, by {how}")


def subscription(clients: AzureClients, log: Log) -> Diagnosis:
    """Check the subscription's state and tenant. Raises HttpResponseError."""
    of = clients.account.subscription_id
    found = with_retries(
        "reading the subscription",
        partial(clients.get, f"/subscriptions/{of}?api-version={SUBSCRIPTIONS}"),
        log,
        MINUTES,
    )
    state, tenant = str(found.get("state")), str(found.get("tenantId") or "")
    described = f"{found.get('displayName')} ({of}): {state}"
    if tenant and tenant != clients.principal().tenant_id:
        return Diagnosis(
            "subscription",
            "problem",
            f"{described}, but it belongs to another tenant than your sign-in: {tenant}",
            f"az login --tenant {tenant}",
        )
    verdict = STATES.get(state, "problem")
    remedy = (
        "see its state in the portal under Subscriptions, and have its owner re-enable it" if verdict != "ok" else ""
    )
    return Diagnosis("subscription", verdict, described, remedy)  # type: ignore[arg-type]


def rights(clients: AzureClients, log: Log) -> Rights:
    of = clients.account.subscription_id
    address = f"/subscriptions/{of}/providers/Microsoft.Authorization/permissions?api-version={PERMISSIONS}"
    return Rights(tuple(rest.rows(clients, "your permissions", address, log, MINUTES)))


def roles(clients: AzureClients, held: Rights) -> list[Diagnosis]:
    """One diagnosis for each action of a run that no role allows."""
    assignee, scope = clients.principal().object_id, f"/subscriptions/{clients.account.subscription_id}"
    lacking = [
        Diagnosis(
            "roles",
            "problem",
            f"you are not allowed to perform {action} on the subscription",
            f"ask an owner for: az role assignment create --assignee {assignee} --role '{role}' --scope {scope}",
        )
        for action, role in NEEDED.items()
        if not held.allow(action)
    ]
    return lacking or [Diagnosis("roles", "ok", "you may create resources and assign roles in the subscription")]


def registrations(clients: AzureClients, log: Log, *, with_chat: bool) -> Registrations:
    """Read the registration of every provider of the templates; errors are collected per provider."""
    from azure.core.exceptions import AzureError

    states, unread = dict[str, str](), dict[str, BackendError]()
    needed = [*bicep_template.namespaces(), *(bicep_template.namespaces(bicep_template.CHAT) if with_chat else [])]
    for namespace in dict.fromkeys(needed):
        read = partial(clients.resources().providers.get, namespace)
        try:
            states[namespace] = str(with_retries(f"reading {namespace}", read, log, MINUTES).registration_state)
        except BackendError as e:
            unread[namespace] = e
        except AzureError as e:
            unread[namespace] = refused(f"reading {namespace}", e)
    return Registrations(states, unread)


def providers(of: Registrations, held: Rights | None) -> list[Diagnosis]:
    """Check the registrations. A run registers what is missing if its principal is allowed to."""
    missing = [namespace for namespace, state in of.states.items() if state != "Registered"]
    found = [
        Diagnosis("providers", "unseen", f"not checked: {apart(e)}", e.remedy or f"{CHECK_AGAIN} ({namespace})")
        for namespace, e in of.unread.items()
    ]
    for namespace in missing:
        may = held is not None and held.allow(f"{namespace}/register/action")
        found.append(
            Diagnosis(
                "providers",
                "warning" if may else "problem",
                f"the subscription is not registered for {namespace}"
                + ("; a run registers it" if may else ", and you may not register it"),
                f"{'' if may else 'ask an owner for: '}az provider register --namespace {namespace} --wait",
            )
        )
    return found or [Diagnosis("providers", "ok", f"registered for all {len(of.states)} that are needed")]


def region(clients: AzureClients, log: Log) -> Diagnosis:
    of = clients.account
    address = f"/subscriptions/{of.subscription_id}/locations?api-version={SUBSCRIPTIONS}"
    known = [_plain(str(row["name"])) for row in rest.rows(clients, "the regions", address, log, MINUTES)]
    if of.location not in known:
        return Diagnosis(
            "region",
            "problem",
            f"Azure has no region {of.location}; similar: {_near(of.location, known)}",
            REGION_REMEDY,
        )
    found = with_retries(
        f"reading {MACHINE_LEARNING}", partial(clients.resources().providers.get, MACHINE_LEARNING), log, MINUTES
    )
    kinds: list[Any] = list(found.resource_types or [])
    offered = [_plain(place) for kind in kinds if kind.resource_type == "workspaces" for place in kind.locations or []]
    if of.location not in offered:
        return Diagnosis("region", "problem", f"Azure ML is not offered in {of.location}", REGION_REMEDY)
    return Diagnosis("region", "ok", f"{of.location} has Azure ML")


def sizes(clients: AzureClients, wanted: Mapping[str, str], log: Log) -> list[Diagnosis]:
    """Check that the region offers the VM sizes. `wanted`: the VM size by the setting that names it."""
    of = clients.account
    address = (
        f"/subscriptions/{of.subscription_id}/providers/{MACHINE_LEARNING}/locations/{of.location}/vmSizes"
        f"?api-version={MACHINE_LEARNING_VERSION}"
    )
    offered = {str(row["name"]).lower() for row in rest.rows(clients, "the VM sizes", address, log, MINUTES)}
    known = [name for name in prices.MACHINES if name.lower() in offered]
    return [
        Diagnosis("sizes", "ok", f"{setting}: {size} is offered in {of.location}")
        if size.lower() in offered
        else Diagnosis(
            "sizes",
            "problem",
            f"{setting}: {size} is not offered in {of.location}",
            f"set {setting} to an offered one ({', '.join(known) or 'none is in the price table'}), or another "
            "PHI_AZURE_LOCATION",
        )
        for setting, size in wanted.items()
    ]


def require_registered(of: Registrations | None, namespace: str) -> None:
    """Raise NotChecked for a namespace that is not known to be registered: its requests would fail."""
    if of is None or namespace not in of.states:
        raise NotChecked(
            f"not checked: whether the subscription is registered for {namespace} is not known", CHECK_AGAIN
        )
    if of.states[namespace] != "Registered":
        raise NotChecked(
            f"not checked: the subscription is not registered for {namespace} yet",
            f"register it, and check again: az provider register --namespace {namespace} --wait",
        )


def apart(error: BackendError) -> str:
    """An error's description without the remedy at its end."""
    return without(str(error.description or error), error.remedy)


def without(text: str, remedy: str) -> str:
    """A text without the remedy at its end."""
    return text.removesuffix(remedy).rstrip(" :.;,") if remedy else text


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), action, re.I) for each in patterns)


def _near(word: str, choices: list[str]) -> str:
    return ", ".join(difflib.get_close_matches(word, choices, n=2, cutoff=0.0)) or "none"


def _plain(place: str) -> str:
    return place.replace(" ", "").lower()
