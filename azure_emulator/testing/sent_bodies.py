"""What clients really send, type by type: azure-ai-ml's entities as it serialises them, our template's resources, and
by hand what neither sends.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from azure.ai.ml import Input, Output, command
from azure.ai.ml._restclient.arm_ml_service import models as rest
from azure.ai.ml._restclient.arm_ml_service._utils.model_base import SdkJSONEncoder
from azure.ai.ml.entities import (
    AmlCompute,
    APIKeyConnection,
    AzureBlobDatastore,
    BuildContext,
    Data,
    Environment,
    IdentityConfiguration,
    ManagedIdentityConfiguration,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
    ProbeSettings,
)
from azure.ai.ml.entities._assets import Code

from azure_emulator.identity.identities import LOCATION, USER
from azure_emulator.resource_manager.evaluated import committed
from azure_emulator.testing import clients

Sent = tuple[str, dict[str, Any]]  # api-version and body
ML = "Microsoft.MachineLearningServices/workspaces"
WORKSPACE = f"/subscriptions/a/resourceGroups/b/providers/{ML}/c"
DATASTORE = f"azureml:/{WORKSPACE}/datastores/workspaceblobstore/paths/x"
INFERENCE = {name: {"port": 5001, "path": "/"} for name in ("liveness_route", "readiness_route", "scoring_route")}


@cache
def sent() -> dict[str, Sent]:
    """By the resource type in lower case."""
    return {type.lower(): row for type, row in (*_by_template(), *_by_hand(), *_by_azure_ai_ml())}


def _by_azure_ai_ml() -> list[tuple[str, Sent]]:
    """azure-ai-ml 1.35, with the api-versions of its clients (`_ml_client.py`)."""
    identity = ManagedIdentityConfiguration(resource_id="/subscriptions/a")
    attached = IdentityConfiguration(type="user_assigned", user_assigned_identities=[identity])
    cluster = AmlCompute(
        name="training", size="Standard_NC24ads_A100_v4", max_instances=1, identity=attached, location=LOCATION
    )
    job = command(
        name="job",
        command="cat ${{inputs.data}}",
        environment=f"{WORKSPACE}/environments/a/versions/1",
        compute=f"{WORKSPACE}/computes/training",
        inputs={"data": Input(type="uri_file", path=DATASTORE), "words": "hello"},
        outputs={"model": Output(type="uri_folder", mode="rw_mount", path=DATASTORE)},
        identity=ManagedIdentityConfiguration(client_id=USER),
        timeout=60,
        tags={"a": "b"},
    )._to_job()
    build = Environment(name="a", version="1", build=BuildContext(path="https://a/b"), inference_config=INFERENCE)
    probe = ProbeSettings(initial_delay=1, period=1, failure_threshold=5, timeout=2)
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name="phi",
        model=f"{WORKSPACE}/models/a/versions/1",
        environment=f"{WORKSPACE}/environments/a/versions/1",
        instance_type="Standard_E4s_v3",
        instance_count=1,
        request_settings=OnlineRequestSettings(request_timeout_ms=2000),
        liveness_probe=probe,
        readiness_probe=probe,
    )
    endpoint = ManagedOnlineEndpoint(name="phi", auth_mode="key", identity=attached, traffic={"blue": 100})
    data = Data(name="a", version="1", type="uri_file", path=DATASTORE, tags={"a": "b"})
    model = Model(name="a", version="1", type="custom_model", path=DATASTORE, tags={"a": "b"})
    store = AzureBlobDatastore(name="a", account_name="sta", container_name="b")
    connection = APIKeyConnection(name="a", api_base="https://model.example", api_key="key")
    return [
        (f"{ML}/computes", ("2023-08-01-preview", _wire(cluster._to_rest_object()))),
        (f"{ML}/datastores", ("2024-10-01-preview", _wire(store._to_rest_object()))),
        (f"{ML}/connections", ("2024-04-01-preview", _wire(connection._to_rest_object()))),
        (f"{ML}/jobs", ("2025-01-01-preview", _wire(job._to_rest_object()))),
        (f"{ML}/onlineEndpoints", ("2022-02-01-preview", _wire(endpoint._to_rest_online_endpoint(LOCATION)))),
        (f"{ML}/onlineEndpoints/deployments", ("2023-04-01-preview", _wire(deployment._to_rest_object(LOCATION)))),
        (f"{ML}/data/versions", ("2023-04-01-preview", _wire(data._to_rest_object()))),
        (f"{ML}/models/versions", ("2023-08-01-preview", _wire(model._to_rest_object()))),
        (
            f"{ML}/codes/versions",
            ("2023-04-01", _wire(Code(name="a", version="1", path="https://a/b")._to_rest_object())),
        ),
        (f"{ML}/environments/versions", ("2023-04-01-preview", _wire(build._to_rest_object()))),
        *(
            (f"{ML}/{kind}", (version, _wire(container)))
            for kind, version, container in (
                ("data", "2023-04-01-preview", _container("Data", data_type="uri_file")),
                ("models", "2023-08-01-preview", _container("Model")),
                ("codes", "2023-04-01", _container("Code")),
                ("environments", "2023-04-01-preview", _container("Environment")),
            )
        ),
    ]


def _container(kind: str, **more: Any) -> Any:
    """What the SDK puts to archive an asset with all its versions."""
    properties = getattr(rest, f"{kind}ContainerProperties")(is_archived=True, tags={"a": "b"}, **more)
    return getattr(rest, f"{kind}Container")(properties=properties)


def _by_template() -> list[tuple[str, Sent]]:
    around = ("id", "name", "type", "apiVersion", "dependsOn")
    return [
        (each["type"], (each["apiVersion"], {key: value for key, value in each.items() if key not in around}))
        for evaluation in committed().values()
        for each in evaluation["predictedResources"]
    ]


def _by_hand() -> list[tuple[str, Sent]]:
    limit = {"limitObjectType": "LimitValue", "value": 48}
    quota = {"limit": limit, "name": {"value": "standardNCADSA100v4Family"}, "resourceType": "dedicated"}
    blobs = "Microsoft.Storage/storageAccounts/blobServices"
    app = {
        "location": LOCATION,
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/a": {}}},
        "properties": {
            "environmentId": "/subscriptions/a",
            "configuration": {
                "activeRevisionsMode": "Multiple",
                "secrets": [{"name": "a", "value": "b"}],
                "registries": [{"server": "a.azurecr.io", "identity": "/subscriptions/a"}],
                "ingress": {
                    "external": True,
                    "allowInsecure": False,
                    "targetPort": 8090,
                    "traffic": [{"revisionName": "chat--a", "weight": 100}],
                },
            },
            "template": {
                "revisionSuffix": "a",
                "containers": [{"name": "chat", "image": "a", "resources": {"cpu": 0.5, "memory": "1Gi"}}],
                "scale": {"minReplicas": 0, "maxReplicas": 1},
            },
        },
    }
    registration = {
        "clientId": "a",
        "clientSecretSettingName": "a",
        "openIdIssuer": "https://login.microsoftonline.com/a",
    }
    sign_in = {
        "platform": {"enabled": True},
        "globalValidation": {"unauthenticatedClientAction": "RedirectToLoginPage"},
        "identityProviders": {
            "azureActiveDirectory": {"registration": registration, "validation": {"allowedAudiences": ["a"]}}
        },
    }
    return [
        ("Microsoft.App/containerApps", ("2025-07-01", app)),
        ("Microsoft.App/containerApps/authConfigs", ("2025-07-01", {"properties": sign_in})),
        ("Microsoft.Resources/deployments", ("2026-06-01", clients.body())),
        ("Microsoft.Quota/quotas", ("2025-09-01", {"properties": quota})),
        (blobs, ("2025-06-01", {"properties": {"deleteRetentionPolicy": {"enabled": True, "days": 7}}})),
        (f"{blobs}/containers", ("2025-06-01", {"properties": {"publicAccess": "None", "metadata": {"a": "b"}}})),
    ]


def _wire(made: Any) -> dict[str, Any]:
    return json.loads(json.dumps(made, cls=SdkJSONEncoder, exclude_readonly=True))
