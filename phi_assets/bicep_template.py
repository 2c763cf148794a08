"""Facts of infra/main.json and infra/chat.json that the graph needs, read from them so that both always agree."""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from phi_assets.project import PROJECT

TEMPLATE = PROJECT / "infra" / "main.json"
CHAT = PROJECT / "infra" / "chat.json"
GUIDS = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")  # the namespace of `guid` in ARM templates
ALWAYS_THERE = frozenset({"Microsoft.Resources", "Microsoft.Authorization"})
# Providers that Azure ML needs in addition to the template's types, for quota requests and endpoints.
NEEDED_LATER = ("Microsoft.Quota", "Microsoft.PolicyInsights", "Microsoft.Cdn")


WHO = {"job": "the jobs' identity", "chat": "the chat's identity", "deployer": "the person who deploys"}


@dataclass(frozen=True)
class Grant:
    """One role assignment of a template: a role, to an identity or the person who deploys, on a resource."""

    to: str
    on: str
    role: str
    role_id: str

    @property
    def check(self) -> str:
        """The name of the check for it, such as job_storage_blob_data_contributor."""
        where = f" on {self.on}" if self.on.startswith("chat_") else ""  # one principal has a role on both containers
        return re.sub(r"[^a-z0-9]+", "_", f"{self.to}_{self.role}{where}".lower()).strip("_")

    @property
    def words(self) -> str:
        return f"{self.role} for {WHO[self.to]} on {self.on}"


@cache
def template(path: Path = TEMPLATE) -> Mapping[str, Any]:
    """The compiled template that is deployed."""
    return json.loads(path.read_text(encoding="utf-8"))


def grants(access_mode: str) -> tuple[Grant, ...]:
    """The role assignments of an access mode, in the order of the template's output `roleAssignments`."""
    variables = template()["variables"]
    rows = [*variables["jobRoles"][access_mode], *variables["rolesInBothModes"]]
    return tuple(Grant(row["to"], row["on"], row["role"], variables["roles"][row["role"]]) for row in rows)


def chat_grants() -> tuple[Grant, ...]:
    """The role assignments of infra/chat.json, in the order of its output `roleAssignments`."""
    variables = template(CHAT)["variables"]
    return tuple(
        Grant(row["to"], row["on"], row["role"], variables["roles"][row["role"]]) for row in variables["chatRoles"]
    )


def role_assignment_name(resource_id: str, principal_id: str, grant: Grant) -> str:
    """The name that the template gives to the assignment of the person `principal_id`: its function `guid`."""
    return str(uuid.uuid5(GUIDS, "-".join((resource_id, principal_id, grant.role_id))))


def api_version(kind: str) -> str:
    """The API version of a resource type in the templates."""
    return {**dict(_types(template(CHAT))), **dict(_types(template()))}[kind.lower()]


def namespaces(path: Path = TEMPLATE) -> list[str]:
    """The resource providers that a subscription must be registered for."""
    named = {kind.split("/")[0] for kind, _ in _types(template(path), as_written=True)}
    return sorted((named | set(NEEDED_LATER if path == TEMPLATE else ())) - ALWAYS_THERE)


def deployment_hash(parameters: Mapping[str, Any], path: Path = TEMPLATE) -> str:
    """SHA-256 of a template and its parameters, by which a finished deployment is known again."""
    content = json.dumps([template(path), dict(parameters)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _types(node: Any, *, as_written: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        kind, version = node.get("type"), node.get("apiVersion")
        if isinstance(kind, str) and isinstance(version, str) and "/" in kind:
            yield (kind if as_written else kind.lower()), version
        for value in node.values():
            yield from _types(value, as_written=as_written)
    elif isinstance(node, list):
        for value in node:
            yield from _types(value, as_written=as_written)
