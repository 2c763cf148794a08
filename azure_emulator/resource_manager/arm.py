"""Azure Resource Manager: routes requests, and answers the verbs that all resources have."""

from __future__ import annotations

import re
from collections.abc import Callable

from azure_emulator.container_apps import image_builds, revision_calls
from azure_emulator.identity.identities import TENANT
from azure_emulator.machine_learning import routes as machine_learning
from azure_emulator.messages import Answer, AzureError, Call, merged, object_of
from azure_emulator.resource_manager import (
    deployments,
    names_and_permissions,
    put_resource,
    quota,
    soft_deletion,
    subscription,
)
from azure_emulator.resource_manager.operations import Progress
from azure_emulator.resource_manager.resource_ids import is_collection, provider_of, subscription_of, type_of
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.resource_manager.subscription import missing
from azure_emulator.state import EmulatorState

Handler = Callable[..., Answer]
_API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview|-privatepreview)?")


def handle(emulator: EmulatorState, call: Call) -> Answer:
    """Answer a call whose token is already checked. Raises AzureError."""
    if not _API_VERSION.fullmatch(call.api_version):
        raise AzureError(
            400,
            "MissingApiVersionParameter" if not call.api_version else "InvalidApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests, in the form yyyy-mm-dd.",
        )
    asked = subscription_of(call.path)
    if asked and asked != emulator.subscription:
        raise AzureError(404, "SubscriptionNotFound", f"The subscription '{asked}' could not be found.")
    _require_usable_subscription(emulator, call)
    for methods, pattern, handler in _ROUTES:
        found = pattern.fullmatch(call.path.rstrip("/")) if call.method in methods else None
        if found:
            return handler(emulator, call, **found.groupdict())
    return _generic(emulator, call)


def _require_usable_subscription(emulator: EmulatorState, call: Call) -> None:
    """Raise AzureError for a token of another tenant, and for a write to a disabled subscription."""
    if emulator.subscription_tenant != TENANT:
        raise AzureError(
            401,
            "InvalidAuthenticationTokenTenant",
            f"The access token is from the wrong issuer 'https://sts.windows.net/{TENANT}/'. It must match the tenant "
            f"'https://sts.windows.net/{emulator.subscription_tenant}/' associated with this subscription.",
        )
    if emulator.subscription_state != "Enabled" and call.method in ("PUT", "PATCH", "DELETE"):
        raise AzureError(
            409,
            "ReadOnlyDisabledSubscription",
            f"The subscription '{emulator.subscription}' is disabled and therefore marked as read only. You cannot "
            "perform any write actions on this subscription until it is re-enabled.",
        )


def public(emulator: EmulatorState, call: Call) -> Answer | None:
    """Answer requests that need no token; None for others."""
    if call.path == "/metadata/endpoints":
        cloud = {
            "name": "AzureCloud",
            "portal": "https://portal.azure.com",
            "resourceManager": "https://management.azure.com/",
            "authentication": {
                "loginEndpoint": "https://login.microsoftonline.com/",
                "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
                "tenant": "common",
            },
            "suffixes": {
                "storage": "core.windows.net",
                "keyVaultDns": "vault.azure.net",
                "acrLoginServer": "azurecr.io",
            },
        }
        return Answer([cloud] if call.api_version else cloud)
    return None


def _generic(emulator: EmulatorState, call: Call) -> Answer:
    type, id = type_of(call.path), call.path.rstrip("/")
    if call.method in ("GET", "HEAD"):
        put_resource.require(emulator, call.oid, f"{_read_type(id)}/read", id)
        if is_collection(id):
            return Answer({"value": [r.shown() for r in _listed(emulator, id)]})
        resource = emulator.resources.find(id)
        if call.method == "HEAD":
            return Answer(status=204 if resource else 404)
        if resource is None:
            raise missing(id)
        return Answer(resource.shown())
    if is_collection(id) or call.method == "POST":
        raise AzureError(404, "InvalidResourceType", f"{call.method} {call.path} is not known to the local Azure.")
    if call.method == "PUT":
        kept = put_resource.put(emulator, call.oid, id, object_of(call), call.api_version)
        return _after_put(emulator, call, kept)
    if call.method == "PATCH":
        old = emulator.resources.find(id)
        if old is None:
            raise missing(id)
        kept = put_resource.put(emulator, call.oid, id, merged(old.asked, object_of(call)), call.api_version)
        return _after_put(emulator, call, kept)
    put_resource.require(emulator, call.oid, f"{type}/delete", id)
    there = put_resource.drop(emulator, id)
    return Answer(status=200 if there else 204)


def _after_put(emulator: EmulatorState, call: Call, kept: put_resource.PutResult) -> Answer:
    resource = kept.resource
    headers: dict[str, str] = {}
    if kept.changed and resource.state in ("Creating", "Updating"):
        headers = follow(emulator, call, resource)
    return Answer(resource.shown(), 201 if kept.created else 200, headers)


def follow(emulator: EmulatorState, call: Call, resource: Resource, kind: str = "operationStatuses") -> dict[str, str]:
    """Return headers that let the client poll until the resource is provisioned."""
    id = emulator.operations.start(lambda: Progress(resource.state, resource.hidden.get("error")))
    return emulator.operations.headers(id, emulator.subscription, provider_of(resource.id), kind, call.api_version)


def _operation(emulator: EmulatorState, call: Call, id: str, scope: str = "", name: str = "") -> Answer:
    # No role is checked: Azure documents none for operation addresses.
    return emulator.operations.poll(id)


def _listed(emulator: EmulatorState, collection: str) -> list[Resource]:
    kind = type_of(collection + "/x")
    if kind.lower() == "microsoft.authorization/roleassignments":
        return [
            r for r in emulator.resources.all() if r.body["type"] == kind and _at(r.properties["scope"], collection)
        ]
    within = collection[: collection.lower().find("/providers/")]
    if "/resourcegroups/" not in collection.lower() and "/providers/" in collection.lower():
        return emulator.resources.of_type(kind, within)
    return emulator.resources.children(collection)


def _at(scope: str, collection: str) -> bool:
    # A list at a scope includes assignments at, above and below it.
    place = collection[: collection.lower().rindex("/providers/microsoft.authorization")].lower()
    return scope.lower().startswith(place) or place.startswith(scope.lower())


def _read_type(id: str) -> str:
    return type_of(f"{id}/x") if is_collection(id) else type_of(id)


def _route(methods: str, pattern: str, handler: Handler) -> tuple[frozenset[str], re.Pattern[str], Handler]:
    return frozenset(methods.split()), re.compile(pattern, re.IGNORECASE), handler


_SUB = "/subscriptions/[^/]+"
_SCOPE = f"(?P<scope>{_SUB}(?:/resourcegroups/[^/]+)?)"
_DEPLOYMENT = f"{_SCOPE}/providers/Microsoft.Resources/deployments/(?P<name>[^/]+)"
_ROUTES = [
    _route("GET", "/subscriptions", subscription.all_of_them),
    _route("GET", _SUB, subscription.one),
    _route("GET", f"{_SUB}/locations", subscription.locations),
    _route("GET", f"{_SUB}/providers", subscription.provider_list),
    _route("GET", f"{_SUB}/providers/(?P<namespace>[^/]+)", subscription.provider),
    _route("POST", f"{_SUB}/providers/(?P<namespace>[^/]+)/register", subscription.register),
    _route("DELETE", f"{_SUB}/resourcegroups/(?P<name>[^/]+)", subscription.delete_group),
    _route("GET", f"{_SUB}/resourcegroups/(?P<name>[^/]+)/resources", subscription.group_resources),
    _route("GET", f"{_SUB}/operationresults/(?P<id>[^/]+)", subscription.operation_result),
    _route("PUT", _DEPLOYMENT, deployments.create),
    _route("GET HEAD", _DEPLOYMENT, deployments.get),
    _route("DELETE", _DEPLOYMENT, deployments.delete),
    _route("POST", f"{_DEPLOYMENT}/(?P<action>whatIf|validate|cancel|exportTemplate)", deployments.act),
    _route(
        "GET",
        f"{_SCOPE}/(?:providers/Microsoft.Resources/)?deployments/(?P<name>[^/]+)/operations",
        deployments.operations,
    ),
    _route("GET", f"{_DEPLOYMENT}/operationStatuses/(?P<id>[^/]+)", _operation),
    _route("GET", f"{_SCOPE}/providers/Microsoft.Resources/deployments", deployments.list_all),
    _route("GET", f"{_SUB}/providers/[^/]+/locations/[^/]+/[a-z]*operation[a-z]*/(?P<id>[0-9a-f-]{{36}})", _operation),
    _route(
        "GET",
        "(?P<scope>.*)/providers/Microsoft.Authorization/roleDefinitions/(?P<guid>[^/]+)",
        subscription.role_definition,
    ),
    _route("POST", ".*/Microsoft.Storage/storageAccounts/(?P<account>[^/]+)/listKeys", subscription.storage_keys),
    *[_route(*row) for row in soft_deletion.ROUTES],
    *[_route(*row) for row in names_and_permissions.ROUTES],
    *[_route(*row) for row in quota.ROUTES],
    *[_route(*row) for row in revision_calls.ROUTES],
    *[_route(*row) for row in image_builds.ROUTES],
    *[_route(*row) for row in machine_learning.ROUTES],
]
