"""Metadata of the endpoint and of its deployment."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from phi_assets.graph import metadata_values
from phi_assets.graph.asset_keys import key_of
from phi_assets.records import Deployment, Endpoint, OptimizedModel


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
        "form": deployment.form,
        "model_digest": deployment.model_digest,
        "trained_in": dg.MetadataValue.dagster_run(deployment.training_run),
        "trained_on": dg.MetadataValue.asset(key_of("chat_dataset")),
        "dataset_digest": deployment.dataset_digest,
        **costs,
        **_portal(deployment.portal),
    }


def describe_optimized(optimized: OptimizedModel, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the form that is served, why, and what was measured."""
    bits, questions = report["bits_per_byte"], report["questions"]
    right = questions["right"] if questions else {"full": "none asked", "quantized": "none asked"}
    rows = [
        ("bits per byte of the test split", f"{bits['full']:.4f}", f"{bits['quantized']:.4f}"),
        ("evaluation questions right", right["full"], right["quantized"]),
    ]
    return {
        "served": optimized.form,
        "note": metadata_values.text(optimized.note or f"{optimized.form} is close enough to the full model"),
        "agreement": dg.MetadataValue.float(float(report["agreement"])),
        "kl_divergence": dg.MetadataValue.float(float(report["kl"])),
        "answer_tokens": int(report["tokens"]),
        "measured": metadata_values.table(("", "full, fp32", f"{report['form']}, {report['runtime']}"), rows),
        "report": dg.MetadataValue.json(dict(report)),
        "folder": dg.MetadataValue.path(optimized.address),
    }


def _portal(address: str) -> dict[str, Any]:
    return {"portal": dg.MetadataValue.url(address)} if address else {}
