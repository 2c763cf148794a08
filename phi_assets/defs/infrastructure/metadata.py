"""Metadata of the infrastructure."""

from typing import Any

import dagster as dg

from phi_assets.graph import metadata_values
from phi_assets.records import CloudResource, Quota


def describe_resource(resource: CloudResource) -> dict[str, Any]:
    """Return location, kind and cost of the resource."""
    return {
        "name": resource.name,
        "kind": resource.kind,
        "region": resource.region,
        "sku": resource.sku or "none",
        "dollars_a_month": resource.dollars_a_month,
        "costs": resource.costs,
        "portal": dg.MetadataValue.url(resource.portal),
    }


def describe_if_any(resource: CloudResource | None) -> dict[str, Any]:
    """Return `describe_resource`, or nothing for a resource of a laptop."""
    return describe_resource(resource) if resource else {}


def describe_quota(quota: Quota) -> dict[str, Any]:
    """Return required and allowed vCPUs, costs, and the portal page for requests."""
    return {
        "machine": quota.name,
        "region": quota.region,
        "vcpus": metadata_values.table(
            ("quota", "needed", "limit", "in use by others"),
            [(need["name"], need["needed"], need["limit"], need["used"]) for need in quota.needs],
        ),
        "requested": quota.requested or "nothing",
        "dollars_an_hour": quota.dollars_an_hour,
        "dearest_job": quota.dearest_job,
        "portal": dg.MetadataValue.url(quota.portal),
    }
