"""Reads the deployed resources from Azure, and compares them with the template: the checks that find drift."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from phi_assets import bicep_template
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import Outputs
from phi_assets.backends.azure.client.rest import Body, get_or_none, kind_of, properties
from phi_assets.outcome import CheckOutcome

CACHE_SECONDS = 10.0  # one survey reads the state for every asset in turn
PARALLEL_REQUESTS = 8
ROLE_KINDS = ("Microsoft.Authorization/roleAssignments", "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")


@dataclass(frozen=True)
class LiveState:
    """The body of each resource and of each role assignment; None where it does not exist."""

    outputs: Outputs
    resources: Mapping[str, Body | None]
    roles: Mapping[str, Body | None]


@dataclass(frozen=True)
class Wanted:
    """The settings that the live state must match."""

    access_mode: str
    purge_protection: bool
    deployer: str = field(metadata={"doc": "object id of the signed-in principal"})


_lock = threading.Lock()
_cache: dict[str, tuple[float, LiveState]] = {}


def read(clients: AzureClients, outputs: Outputs) -> LiveState:
    """The live state of everything that a deployment created, cached for CACHE_SECONDS.

    Whoever deployed last, the roles of a person are those of the signed-in one: each has theirs.
    """
    person = clients.principal().object_id
    outputs = _of_person(outputs, clients.account.access_mode, person)
    key = f"{clients.account.group_id} {outputs.template_hash} {person}"
    with _lock:
        when, state = _cache.get(key, (0.0, None))
        if state is None or time.monotonic() - when > CACHE_SECONDS:
            state = _read(clients, outputs)
            _cache[key] = (time.monotonic(), state)
        return state


def grants_of(outputs: Outputs, access_mode: str) -> tuple[bicep_template.Grant, ...]:
    """The role assignments of the template whose outputs these are."""
    return bicep_template.chat_grants() if "chat_identity" in outputs.resources else bicep_template.grants(access_mode)


def _of_person(outputs: Outputs, access_mode: str, person: str) -> Outputs:
    """Return the outputs with the ids of this person's role assignments, made or not."""
    ids = [
        role_id
        if grant.to != "deployer"
        else f"{role_id.rpartition('/')[0]}/"
        f"{bicep_template.role_assignment_name(outputs.resources[grant.on], person, grant)}"
        for grant, role_id in zip(grants_of(outputs, access_mode), outputs.role_assignments, strict=False)
    ]
    return replace(outputs, role_assignments=ids)


def forget() -> None:
    """Clear the cache after a change, so that the next `read` requests the state from Azure."""
    with _lock:
        _cache.clear()


def _read(clients: AzureClients, outputs: Outputs) -> LiveState:
    clients.resources()  # create the client once, before several threads use it

    def body(resource_id: str) -> Body | None:
        return get_or_none(clients, resource_id, bicep_template.api_version(kind_of(resource_id)))

    ids = [*outputs.resources.values(), *outputs.role_assignments]
    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        bodies = dict(zip(ids, pool.map(body, ids), strict=True))
    return LiveState(
        outputs,
        {name: bodies[resource_id] for name, resource_id in outputs.resources.items()},
        {resource_id: bodies[resource_id] for resource_id in outputs.role_assignments},
    )


def examine(asset: str, state: LiveState, wanted: Wanted) -> dict[str, CheckOutcome]:
    """The outcome of every live check of an asset, by the check's name."""
    if asset == "role_assignments":
        return _roles(state, wanted)
    if asset == "chat_environment":
        identity = state.resources.get("chat_identity")
        has = _has_principal(identity, state, wanted) if identity else CheckOutcome(False, "it does not exist")
        return {"provisioned": _part(asset, state, wanted), "identity": has, **_roles(state, wanted)}
    body = state.resources.get(asset)
    checks = {"provisioned": _provisioned, **CHECKS.get(asset, {})}
    if body is None:
        return {
            name: CheckOutcome(False, f"{state.outputs.resources.get(asset, asset)} does not exist") for name in checks
        }
    return {name: check(body, state, wanted) for name, check in checks.items()}


def drift(assets: Iterable[str], state: LiveState, wanted: Wanted) -> list[str]:
    """A line for each live check that fails."""
    outcomes = [(asset, examine(asset, state, wanted)) for asset in assets]
    return [
        f"{asset}: {check.description}" for asset, checks in outcomes for check in checks.values() if not check.passed
    ]


def _provisioned(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of = properties(body)
    status = of.get("provisioningState") or ("Succeeded" if of else "unknown")
    return CheckOutcome(status == "Succeeded", f"{body.get('name')} exists: {status}")


def _no_public_access(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of = properties(body)
    open_ = of.get("allowBlobPublicAccess") is not False
    old = of.get("minimumTlsVersion") not in ("TLS1_2", "TLS1_3") or of.get("supportsHttpsTrafficOnly") is False
    faults = ["public blob access is allowed"] * open_ + ["connections without TLS 1.2 are allowed"] * old
    return CheckOutcome(not faults, "; ".join(faults) or "no public blob access, TLS 1.2 or later")


def _shared_keys(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("allowSharedKeyAccess") is not False
    should = wanted.access_mode == "guide"
    return CheckOutcome(
        on == should, f"shared keys are {_on(on)}; PHI_AZURE_ACCESS_MODE={wanted.access_mode}: {_on(should)}"
    )


def _roles_decide(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    by_role = properties(body).get("enableRbacAuthorization") is True
    return CheckOutcome(
        by_role, "access is granted by roles" if by_role else "access is granted by access policies, not by roles"
    )


def _purge_protection(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("enablePurgeProtection") is True
    # Azure does not allow it to be switched off again, so that a deployment could not repair "on".
    return CheckOutcome(on or not wanted.purge_protection, f"purge protection is {_on(on)}")


def _no_admin_password(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("adminUserEnabled") is True
    return CheckOutcome(not on, f"the admin account is {_on(on)}")


def _container(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    return _part("chat_container", state, wanted)


def _feedback(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    return _part("chat_feedback", state, wanted)


def _logs(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    return _part("log_analytics", state, wanted)


def _part(part: str, state: LiveState, wanted: Wanted) -> CheckOutcome:
    """Whether a resource without its own asset exists; the outputs of an earlier template may not contain it."""
    resource_id, body = state.outputs.resources.get(part), state.resources.get(part)
    return _provisioned(body, state, wanted) if body else CheckOutcome(False, f"{resource_id or part} does not exist")


def _no_keys(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    off = properties(body).get("disableLocalAuth") is True
    return CheckOutcome(off, f"account keys are {_on(not off)}")


def _serverless(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    names = [capability.get("name") for capability in properties(body).get("capabilities") or []]
    serverless = "EnableServerless" in names
    return CheckOutcome(serverless, "billed by request" if serverless else "billed by the hour: not serverless")


def _has_principal(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    principal = properties(body).get("principalId")
    return CheckOutcome(bool(principal), f"principal {principal}" if principal else "it has no principal")


def _own_identity(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    kind = str((body.get("identity") or {}).get("type"))
    return CheckOutcome("SystemAssigned" in kind, f"identity: {kind}")


def _datastores(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    found = str(properties(body).get("systemDatastoresAuthMode") or "").lower()
    should = "accesskey" if wanted.access_mode == "guide" else "identity"
    return CheckOutcome(found == should, f"datastores authenticate by {found or 'unknown'}, wanted: {should}")


def _companions(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of, ids = properties(body), state.outputs.resources
    wrong = [
        f"{asset} is {of.get(name)}"
        for name, asset in COMPANIONS.items()
        if str(of.get(name) or "").lower() != ids[asset].lower()
    ]
    return CheckOutcome(not wrong, "; ".join(wrong) or "all four belong to this group")


def _roles(state: LiveState, wanted: Wanted) -> dict[str, CheckOutcome]:
    principals = _principals(state, wanted)
    found: dict[str, CheckOutcome] = {}
    for grant, role_id in zip(
        grants_of(state.outputs, wanted.access_mode), state.outputs.role_assignments, strict=False
    ):
        body = state.roles.get(role_id)
        of = properties(body) if body else {}
        if body is None:
            found[grant.check] = CheckOutcome(False, f"missing: {grant.words}")
        elif not str(of.get("roleDefinitionId")).lower().endswith(grant.role_id.lower()):
            found[grant.check] = CheckOutcome(False, f"another role than {grant.words}: {of.get('roleDefinitionId')}")
        elif str(of.get("principalId")).lower() != principals[grant.to]:
            found[grant.check] = CheckOutcome(
                False, f"assigned to {of.get('principalId')}, not to {grant.to}: {grant.words}"
            )
        else:
            found[grant.check] = CheckOutcome(True, f"in force: {grant.words}")
    return found


def orphans(state: LiveState, wanted: Wanted) -> list[str]:
    """The ids of role assignments that exist, but for another principal than the template's."""
    principals = _principals(state, wanted)
    found = []
    for grant, role_id in zip(
        grants_of(state.outputs, wanted.access_mode), state.outputs.role_assignments, strict=False
    ):
        body = state.roles.get(role_id)
        if body and str(properties(body).get("principalId")).lower() != principals[grant.to]:
            found.append(role_id)
    return found


def _principals(state: LiveState, wanted: Wanted) -> dict[str, str]:
    def principal(identity: str) -> str:
        return str(properties(state.resources.get(identity) or {}).get("principalId") or "").lower()

    return {
        "job": principal("managed_identity"),
        "chat": principal("chat_identity"),
        "deployer": wanted.deployer.lower(),
    }


def _on(value: bool) -> str:
    return "on" if value else "off"


COMPANIONS = {
    "storageAccount": "storage_account",
    "keyVault": "key_vault",
    "applicationInsights": "application_insights",
    "containerRegistry": "container_registry",
}
CHECKS: dict[str, dict[str, Callable[[Body, LiveState, Wanted], CheckOutcome]]] = {
    "storage_account": {"no_public_access": _no_public_access, "shared_keys": _shared_keys},
    "key_vault": {"roles_decide": _roles_decide, "purge_protection": _purge_protection},
    "application_insights": {"logs": _logs},
    "container_registry": {"no_admin_password": _no_admin_password},
    "managed_identity": {"provisioned": _has_principal},
    "chat_database": {"no_keys": _no_keys, "serverless": _serverless, "container": _container, "feedback": _feedback},
    "ml_workspace": {"own_identity": _own_identity, "datastores": _datastores, "companions": _companions},
}
