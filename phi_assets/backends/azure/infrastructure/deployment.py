"""infra/main.json in the subscription: deployed when it changed or what is there has drifted, else left alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets import bicep_template
from phi_assets.backends.azure.client import names, outputs, rest
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import Outputs
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.infrastructure import deleted_vaults, live_state, ownership, providers
from phi_assets.backends.azure.infrastructure.deployment_run import DeploymentRun
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log

FORECAST_SECONDS = 180.0
NONE = "Azure gave no forecast"
QUIET = frozenset({"Ignore", "NoChange"})

HASH_TAG = "phi-template-hash"


@dataclass(frozen=True)
class Deployed:
    """What is there, and what Azure forecast when it had to be deployed."""

    outputs: Outputs
    planned: str


def ensure(clients: AzureClients, purge_protection: bool, log: Log) -> Deployed:
    """Everything of the template as it says. Writes nothing when the hash is the tag's and nothing drifted."""
    name, body, digest = request_of(clients, purge_protection)
    run = DeploymentRun(clients, name, digest, log)
    present = _present(clients, run, digest)
    if present is not None:
        outputs.write(clients.account, present)
        live_state.forget()
        state, should = live_state.read(clients, present), wanted(clients, purge_protection)
        drifted = live_state.drift([*present.resources, "role_assignments"], state, should)
        if not drifted:
            return Deployed(present, "nothing to deploy: template and parameters are those of the group's tag")
        log(f"mending what differs from the template: {'; '.join(drifted)}")
        _drop_orphans(clients, live_state.orphans(state, should), log)
    providers.ensure_registered(clients, bicep_template.namespaces(), log)
    deleted_vaults.recover(clients, _vault(clients), log)
    planned = forecast(clients, name, body, log)
    made = run.make(body)
    outputs.write(clients.account, made)
    live_state.forget()
    return Deployed(made, planned)


def request_of(clients: AzureClients, purge_protection: bool) -> tuple[str, dict[str, Any], str]:
    """The deployment's name, what is submitted, and its hash."""
    account, who = clients.account, clients.principal()
    parameters = {
        "environmentName": account.name,
        "location": account.location,
        "principalId": who.object_id,
        "principalType": who.kind,
        "accessMode": account.access_mode,
        "purgeProtection": purge_protection,
    }
    digest = bicep_template.deployment_hash(parameters)
    body = {
        "location": account.location,
        "properties": {
            "mode": "Incremental",
            "template": bicep_template.template(),
            "parameters": {name: {"value": value} for name, value in {**parameters, "templateHash": digest}.items()},
        },
    }
    return name_of(account), body, digest


def name_of(account: AzureAccount) -> str:
    """The deployment's name, of at most 64 characters. Azure never takes a name again in another region."""
    return f"phi-{account.name}-{account.location}"


def wanted(clients: AzureClients, purge_protection: bool) -> live_state.Wanted:
    """What the settings say of the live state."""
    return live_state.Wanted(clients.account.access_mode, purge_protection, clients.principal().object_id)


def _vault(clients: AzureClients) -> str:
    name = names.names(clients.account)["key_vault"]
    return f"{clients.account.group_id}/providers/Microsoft.KeyVault/vaults/{name}"


def _drop_orphans(clients: AzureClients, role_ids: list[str], log: Log) -> None:
    """No role assignment of ours belongs to a principal that is gone: Azure refuses to give it to another."""
    from azure.core.exceptions import HttpResponseError

    for role_id in role_ids:
        log(f"removing a role assignment whose principal is gone: {role_id}")
        version = bicep_template.api_version(rest.kind_of(role_id))
        delete = partial(clients.resources().resources.begin_delete_by_id, role_id, api_version=version)
        try:
            with_retries("removing a role assignment", lambda delete=delete: delete().result(), log)
        except HttpResponseError as e:
            raise refused(f"removing the role assignment {role_id}", e) from e


def _present(clients: AzureClients, run: DeploymentRun, digest: str) -> Outputs | None:
    """The outputs of the deployment of this hash; None when the group carries another, or it did not end well.

    Raises AzureRefused for a group that another made: it is not filled, and not tagged as ours.
    """
    account, group = clients.account, ownership.group(clients)
    if group is None:
        return None
    ownership.require_group(account, group)
    if group["tags"].get(HASH_TAG) != digest:
        return None
    kept = outputs.read(account)
    if kept and kept.template_hash == digest:
        return kept
    return run.finished()


def forecast(clients: AzureClients, name: str, body: Mapping[str, Any], log: Log) -> str:
    """A Markdown list of what a deployment would do; why not, when Azure would not say."""
    from azure.core.exceptions import AzureError

    asked = {
        "location": body["location"],
        "properties": {**body["properties"], "whatIfSettings": {"resultFormat": "ResourceIdOnly"}},
    }
    deployments = clients.deployments().deployments
    try:
        poller = deployments.begin_what_if_at_subscription_scope(name, asked)  # type: ignore[arg-type]
        poller.wait(FORECAST_SECONDS)
        if not poller.done():
            log(f"no forecast of the deployment: Azure did not answer within {FORECAST_SECONDS:g} s")
            return NONE
        changes = poller.result().changes or []
    except (AzureError, BackendError) as e:
        log(f"no forecast of the deployment: {str(e).splitlines()[0]}")
        return NONE
    lines = [f"- {_word(change.change_type)} `{change.resource_id}`" for change in changes]
    loud = [line for line in lines if line.split(" ")[1] not in QUIET]
    return "\n".join(sorted(loud)) or "no change forecast"


def _word(kind: Any) -> str:
    return str(getattr(kind, "value", kind))
