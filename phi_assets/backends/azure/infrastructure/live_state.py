"""What Azure has now, read resource by resource, and where it differs from what the template set."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from phi_assets import bicep_template
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import Outputs
from phi_assets.backends.azure.client.rest import Body, get_or_none, kind_of, properties
from phi_assets.outcome import CheckOutcome

REMEMBERED_SECONDS = 10.0  # one survey asks for every asset in turn
AT_ONCE = 8
ROLE_KINDS = ("Microsoft.Authorization/roleAssignments", "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")


@dataclass(frozen=True)
class LiveState:
    """The body of each resource, and of each role assignment; None where there is none."""

    outputs: Outputs
    resources: Mapping[str, Body | None]
    roles: Mapping[str, Body | None]


@dataclass(frozen=True)
class Wanted:
    """What the settings say of things that the live state must show."""

    access_mode: str
    purge_protection: bool
    deployer: str = field(metadata={"doc": "object id of who is signed in"})


_lock = threading.Lock()
_remembered: dict[str, tuple[float, LiveState]] = {}


def read(clients: AzureClients, outputs: Outputs) -> LiveState:
    """The live state of everything that a deployment made, a few seconds old at most."""
    key = f"{clients.account.group_id} {outputs.template_hash}"
    with _lock:
        when, state = _remembered.get(key, (0.0, None))
        if state is None or time.monotonic() - when > REMEMBERED_SECONDS:
            state = _read(clients, outputs)
            _remembered[key] = (time.monotonic(), state)
        return state


def forget() -> None:
    """The next reading asks Azure again: something was changed."""
    with _lock:
        _remembered.clear()


def _read(clients: AzureClients, outputs: Outputs) -> LiveState:
    clients.resources()  # made once, before several threads ask for it

    def body(resource_id: str) -> Body | None:
        return get_or_none(clients, resource_id, bicep_template.api_version(kind_of(resource_id)))

    ids = [*outputs.resources.values(), *outputs.role_assignments]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        bodies = dict(zip(ids, pool.map(body, ids), strict=True))
    return LiveState(
        outputs,
        {name: bodies[resource_id] for name, resource_id in outputs.resources.items()},
        {resource_id: bodies[resource_id] for resource_id in outputs.role_assignments},
    )


def examine(asset: str, state: LiveState, wanted: Wanted) -> dict[str, CheckOutcome]:
    """The verdict of every live check of an asset, by the check's name."""
    if asset == "role_assignments":
        return _roles(state, wanted)
    body = state.resources.get(asset)
    checks = {"provisioned": _provisioned, **CHECKS.get(asset, {})}
    if body is None:
        return {
            name: CheckOutcome(False, f"{state.outputs.resources.get(asset, asset)} does not exist") for name in checks
        }
    return {name: check(body, state, wanted) for name, check in checks.items()}


def drift(assets: Iterable[str], state: LiveState, wanted: Wanted) -> list[str]:
    """A line for each live check that fails."""
    found = [(asset, examine(asset, state, wanted)) for asset in assets]
    return [f"{asset}: {finding.description}" for asset, by in found for finding in by.values() if not finding.passed]


def _provisioned(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of = properties(body)
    told = of.get("provisioningState") or ("Succeeded" if of else "unknown")
    return CheckOutcome(told == "Succeeded", f"{body.get('name')} is there: {told}")


def _no_public_access(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of = properties(body)
    open_ = of.get("allowBlobPublicAccess") is not False
    old = of.get("minimumTlsVersion") not in ("TLS1_2", "TLS1_3") or of.get("supportsHttpsTrafficOnly") is False
    faults = ["blobs may be made public"] * open_ + ["transport weaker than TLS 1.2 is allowed"] * old
    return CheckOutcome(not faults, "; ".join(faults) or "no public blobs, TLS 1.2 at least")


def _shared_keys(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("allowSharedKeyAccess") is not False
    should = wanted.access_mode == "guide"
    return CheckOutcome(
        on == should, f"shared keys are {_on(on)}; PHI_AZURE_ACCESS_MODE={wanted.access_mode}: {_on(should)}"
    )


def _roles_decide(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    by_role = properties(body).get("enableRbacAuthorization") is True
    return CheckOutcome(by_role, "roles decide" if by_role else "access policies decide, not roles")


def _purge_protection(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("enablePurgeProtection") is True
    # Azure never lets it be switched off again, so on is no drift that a deployment could mend.
    return CheckOutcome(on or not wanted.purge_protection, f"purge protection is {_on(on)}")


def _no_admin_password(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    on = properties(body).get("adminUserEnabled") is True
    return CheckOutcome(not on, f"the admin account is {_on(on)}")


def _container(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    return _stands("chat_container", state, wanted)


def _logs(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    return _stands("log_analytics", state, wanted)


def _stands(part: str, state: LiveState, wanted: Wanted) -> CheckOutcome:
    """Whether a resource without an asset of its own is there; the outputs of an earlier template do not name each."""
    named, body = state.outputs.resources.get(part), state.resources.get(part)
    return _provisioned(body, state, wanted) if body else CheckOutcome(False, f"{named or part} does not exist")


def _no_keys(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    off = properties(body).get("disableLocalAuth") is True
    return CheckOutcome(off, f"account keys are {_on(not off)}")


def _serverless(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    named = [capability.get("name") for capability in properties(body).get("capabilities") or []]
    found = "EnableServerless" in named
    return CheckOutcome(found, "billed by request" if found else "billed by the hour: not serverless")


def _has_principal(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    principal = properties(body).get("principalId")
    return CheckOutcome(bool(principal), f"principal {principal}" if principal else "it has no principal")


def _own_identity(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    kind = str((body.get("identity") or {}).get("type"))
    return CheckOutcome("SystemAssigned" in kind, f"identity: {kind}")


def _datastores(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    found = str(properties(body).get("systemDatastoresAuthMode") or "").lower()
    should = "accesskey" if wanted.access_mode == "guide" else "identity"
    return CheckOutcome(found == should, f"datastores are opened by {found or 'unknown'}, wanted: {should}")


def _companions(body: Body, state: LiveState, wanted: Wanted) -> CheckOutcome:
    of, ids = properties(body), state.outputs.resources
    wrong = [
        f"{asset} is {of.get(name)}"
        for name, asset in COMPANIONS.items()
        if str(of.get(name) or "").lower() != ids[asset].lower()
    ]
    return CheckOutcome(not wrong, "; ".join(wrong) or "all four are this group's")


def _roles(state: LiveState, wanted: Wanted) -> dict[str, CheckOutcome]:
    who = _principals(state, wanted)
    found: dict[str, CheckOutcome] = {}
    for grant, role_id in zip(bicep_template.grants(wanted.access_mode), state.outputs.role_assignments, strict=False):
        body = state.roles.get(role_id)
        of = properties(body) if body else {}
        if body is None:
            found[grant.check] = CheckOutcome(False, f"missing: {grant.words}")
        elif not str(of.get("roleDefinitionId")).lower().endswith(grant.role_id.lower()):
            found[grant.check] = CheckOutcome(False, f"another role than {grant.words}: {of.get('roleDefinitionId')}")
        elif str(of.get("principalId")).lower() != who[grant.to]:
            found[grant.check] = CheckOutcome(
                False, f"given to {of.get('principalId')}, not to {grant.to}: {grant.words}"
            )
        else:
            found[grant.check] = CheckOutcome(True, f"in force: {grant.words}")
    return found


def orphans(state: LiveState, wanted: Wanted) -> list[str]:
    """The ids of role assignments that are there, and belong to someone else than they should."""
    who = _principals(state, wanted)
    found = []
    for grant, role_id in zip(bicep_template.grants(wanted.access_mode), state.outputs.role_assignments, strict=False):
        body = state.roles.get(role_id)
        if body and str(properties(body).get("principalId")).lower() != who[grant.to]:
            found.append(role_id)
    return found


def _principals(state: LiveState, wanted: Wanted) -> dict[str, str]:
    identity = state.resources.get("managed_identity") or {}
    job = str(properties(identity).get("principalId") or "")
    return {"job": job.lower(), "deployer": wanted.deployer.lower()}


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
    "chat_database": {"no_keys": _no_keys, "serverless": _serverless, "container": _container},
    "ml_workspace": {"own_identity": _own_identity, "datastores": _datastores, "companions": _companions},
}
