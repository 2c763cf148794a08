"""The real Azure clients with the `az` login, and a deployment of infra/main.json."""

import json
import time
from typing import Any

from azure.ai.ml import MLClient
from azure.core.pipeline.policies import RetryPolicy
from azure.identity import AzureCliCredential
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.resources import ResourceManagementClient

from azure_emulator.identity.identities import LOCATION, NAME, SUBSCRIPTION, USER
from azure_emulator.process import PROJECT

NAMESPACES = (
    "Microsoft.Storage",
    "Microsoft.KeyVault",
    "Microsoft.Insights",
    "Microsoft.OperationalInsights",
    "Microsoft.ContainerRegistry",
    "Microsoft.ManagedIdentity",
    "Microsoft.DocumentDB",
    "Microsoft.App",
    "Microsoft.MachineLearningServices",
    "Microsoft.Quota",
)
DEPLOYMENT = f"phi-{NAME}"


def no_retries() -> dict[str, Any]:
    """Return the options of a client without retries."""
    return {"retry_policy": RetryPolicy(retry_total=0)}


def resources(**options: Any) -> ResourceManagementClient:
    return ResourceManagementClient(AzureCliCredential(), SUBSCRIPTION, **options)


def deployments(**options: Any) -> DeploymentsMgmtClient:
    return DeploymentsMgmtClient(AzureCliCredential(), SUBSCRIPTION, polling_interval=0.2, **options)


def register() -> None:
    """Register all providers that the template needs."""
    client = resources()
    for namespace in NAMESPACES:
        client.providers.register(namespace)
    while any(client.providers.get(n).registration_state != "Registered" for n in NAMESPACES):
        time.sleep(0.1)


def body(template: str = "main", **parameters: Any) -> Any:
    """Return the body that deploys a template of infra/."""
    values = {"environmentName": NAME, "location": LOCATION, "principalId": USER, **parameters}
    compiled = json.loads((PROJECT / "infra" / f"{template}.json").read_text())
    asked = {name: {"value": value} for name, value in values.items()}
    return {"location": LOCATION, "properties": {"mode": "Incremental", "template": compiled, "parameters": asked}}


def deploy(template: str = "main", **parameters: Any) -> dict[str, Any]:
    """Deploy infra/main.json, or another template of that folder. Return the values of its outputs."""
    client, name = deployments(), DEPLOYMENT if template == "main" else f"{DEPLOYMENT}-{template}"
    done = client.deployments.begin_create_or_update_at_subscription_scope(name, body(template, **parameters)).result()
    return {name: output["value"] for name, output in done.properties.outputs.items()}


def ml(outputs: dict[str, Any]) -> MLClient:
    """Return a client of the deployed workspace."""
    group, workspace = (outputs["resources"][name].rsplit("/", 1)[-1] for name in ("resource_group", "ml_workspace"))
    return MLClient(AzureCliCredential(), SUBSCRIPTION, group, workspace, show_progress=False)
