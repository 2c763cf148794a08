"""Metadata of the endpoint and of its deployment."""

from typing import Any

import dagster as dg

from phi_assets.records import Deployment, Endpoint


def describe_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """Return name, address and authentication of the endpoint, and its page in the portal."""
    return {
        "name": endpoint.name,
        "address": dg.MetadataValue.url(endpoint.address),
        "auth": endpoint.auth,
        **_portal(endpoint.portal),
    }


def describe_deployment(endpoint: Endpoint, deployment: Deployment) -> dict[str, Any]:
    """Return the deployed model, the endpoint, and the cost of the machines a day."""
    unknown = {"dollars_a_day": "not known: its machine is not in the price table"} if deployment.portal else {}
    costs = {"dollars_a_day": deployment.dollars_a_day} if deployment.dollars_a_day else unknown
    return {
        "endpoint": dg.MetadataValue.url(endpoint.address),
        "deployment": deployment.name,
        "model": f"{deployment.model_name} {deployment.model_version}",
        "model_digest": deployment.model_digest,
        "trained_in": dg.MetadataValue.dagster_run(deployment.training_run),
        "trained_on": dg.MetadataValue.asset(dg.AssetKey("chat_dataset")),
        "dataset_digest": deployment.dataset_digest,
        **costs,
        **_portal(deployment.portal),
    }


def _portal(address: str) -> dict[str, Any]:
    return {"portal": dg.MetadataValue.url(address)} if address else {}
