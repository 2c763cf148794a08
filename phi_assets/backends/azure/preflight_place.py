"""Who is signed in, which subscription it is, what may be done there, and what it offers in the region."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets import infra
from phi_assets.backends.azure import listing, prices
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.errors import REGION_CURE
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.ports import Diagnosis, Log

MINUTES = 2.0
SUBSCRIPTIONS = "2022-12-01"
PERMISSIONS = "2022-04-01"
MACHINE_LEARNING = "Microsoft.MachineLearningServices"
MACHINE_LEARNING_VERSION = "2025-09-01"
STATES = {"Enabled": "ok", "Warned": "warning", "PastDue": "warning"}

# What a run does there, and the least common role that may.
NEEDED = {
    "Microsoft.Resources/subscriptions/resourceGroups/write": "Contributor",
    "Microsoft.Resources/deployments/write": "Contributor",
    "Microsoft.MachineLearningServices/workspaces/write": "Contributor",
    "Microsoft.Authorization/roleAssignments/write": "Role Based Access Control Administrator",
}


class NotLookedAt(Exception):
    """A question that cannot be asked yet."""


@dataclass(frozen=True)
class Rights:
    """What the signed-in one may do at the subscription, as Azure lists it."""

    rows: tuple[Mapping[str, Any], ...]

    def allow(self, action: str) -> bool:
        return any(
            _matches(row.get("actions") or (), action) and not _matches(row.get("notActions") or (), action)
            for row in self.rows
        )


def credential(clients: AzureClients, log: Log) -> Diagnosis:
    """Raises NotSignedIn."""
    who = clients.principal()
    how = clients.credential().source() or "a credential"
    kind = "a person" if who.kind == "User" else "a service principal"
    return Diagnosis("credential", "ok", f"signed in as {kind}, object {who.object_id}, by {how}")


def subscription(clients: AzureClients, log: Log) -> Diagnosis:
    """Raises HttpResponseError when it cannot be read."""
    of = clients.account.subscription_id
    found = with_patience(
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
            f"{described}, and it belongs to another tenant than you signed in to: {tenant}",
            f"az login --tenant {tenant}",
        )
    verdict = STATES.get(state, "problem")
    cure = "see its state in the portal under Subscriptions, and have its owner re-enable it" if verdict != "ok" else ""
    return Diagnosis("subscription", verdict, described, cure)  # type: ignore[arg-type]


def rights(clients: AzureClients, log: Log) -> Rights:
    of = clients.account.subscription_id
    address = f"/subscriptions/{of}/providers/Microsoft.Authorization/permissions?api-version={PERMISSIONS}"
    return Rights(tuple(listing.rows(clients, "what you may do", address, log, MINUTES)))


def roles(clients: AzureClients, held: Rights) -> list[Diagnosis]:
    """One diagnosis for each action of a run that no role allows."""
    who, scope = clients.principal().object_id, f"/subscriptions/{clients.account.subscription_id}"
    lacking = [
        Diagnosis(
            "roles",
            "problem",
            f"you may not do {action} on the subscription",
            f"ask an owner for: az role assignment create --assignee {who} --role '{role}' --scope {scope}",
        )
        for action, role in NEEDED.items()
        if not held.allow(action)
    ]
    return lacking or [Diagnosis("roles", "ok", "you may create resources and assign roles in the subscription")]


def registrations(clients: AzureClients, log: Log) -> dict[str, str]:
    """The registration state of every provider that the graph needs."""
    return {
        namespace: str(
            with_patience(
                f"reading {namespace}", partial(clients.resources().providers.get, namespace), log, MINUTES
            ).registration_state
        )
        for namespace in infra.namespaces()
    }


def providers(states: Mapping[str, str], held: Rights | None) -> list[Diagnosis]:
    """A run registers what is missing, when the one who runs it may."""
    missing = [namespace for namespace, state in states.items() if state != "Registered"]
    found = []
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
    return found or [Diagnosis("providers", "ok", f"registered for all {len(states)} that are needed")]


def region(clients: AzureClients, log: Log) -> Diagnosis:
    of = clients.account
    address = f"/subscriptions/{of.subscription_id}/locations?api-version={SUBSCRIPTIONS}"
    known = [_plain(str(row["name"])) for row in listing.rows(clients, "the regions", address, log, MINUTES)]
    if of.location not in known:
        return Diagnosis(
            "region", "problem", f"Azure has no region {of.location}; near it: {_near(of.location, known)}", REGION_CURE
        )
    found = with_patience(
        f"reading {MACHINE_LEARNING}", partial(clients.resources().providers.get, MACHINE_LEARNING), log, MINUTES
    )
    kinds: list[Any] = list(found.resource_types or [])
    offered = [_plain(place) for kind in kinds if kind.resource_type == "workspaces" for place in kind.locations or []]
    if of.location not in offered:
        return Diagnosis("region", "problem", f"Azure ML is not offered in {of.location}", REGION_CURE)
    return Diagnosis("region", "ok", f"{of.location} has Azure ML")


def sizes(clients: AzureClients, wanted: Mapping[str, str], log: Log) -> list[Diagnosis]:
    """`wanted`: the VM size by the setting that names it."""
    of = clients.account
    address = (
        f"/subscriptions/{of.subscription_id}/providers/{MACHINE_LEARNING}/locations/{of.location}/vmSizes"
        f"?api-version={MACHINE_LEARNING_VERSION}"
    )
    offered = {str(row["name"]).lower() for row in listing.rows(clients, "the VM sizes", address, log, MINUTES)}
    known = [name for name in prices.MACHINES if name.lower() in offered]
    return [
        Diagnosis("sizes", "ok", f"{setting}: {size} is offered in {of.location}")
        if size.lower() in offered
        else Diagnosis(
            "sizes",
            "problem",
            f"{setting}: {size} is not offered in {of.location}",
            f"set {setting} to one that is ({', '.join(known) or 'none that this project knows'}), or another "
            "PHI_AZURE_LOCATION",
        )
        for setting, size in wanted.items()
    ]


def require_registered(states: Mapping[str, str], namespace: str) -> None:
    """Raises NotLookedAt for a namespace that the subscription is not registered for: it would not answer."""
    if states.get(namespace) != "Registered":
        raise NotLookedAt(f"not looked at: the subscription is not registered for {namespace} yet")


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(re.fullmatch(re.escape(each).replace(r"\*", ".*"), action, re.I) for each in patterns)


def _near(word: str, choices: list[str]) -> str:
    return ", ".join(difflib.get_close_matches(word, choices, n=2, cutoff=0.0)) or "none"


def _plain(place: str) -> str:
    return place.replace(" ", "").lower()
