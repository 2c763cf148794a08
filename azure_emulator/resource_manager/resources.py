"""The store of all resources, by lower-cased resource id."""

import copy
import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from azure_emulator.resource_manager.resource_ids import name_of, type_of


@dataclass
class Resource:
    """A resource: `body` as GET shows it, `asked` as the last PUT sent it, and `hidden` internal data."""

    id: str
    body: dict[str, Any]
    asked: dict[str, Any] = field(default_factory=dict)
    hidden: dict[str, Any] = field(default_factory=dict)

    @property
    def properties(self) -> dict[str, Any]:
        return self.body.setdefault("properties", {})

    @property
    def state(self) -> str:
        return self.properties.get("provisioningState", "Succeeded")

    def shown(self) -> dict[str, Any]:
        return copy.deepcopy(self.body)


class Resources:
    """The store. Hold `lock` across a read and a dependent write."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._all: dict[str, Resource] = {}

    def find(self, id: str) -> Resource | None:
        with self.lock:
            return self._all.get(id.rstrip("/").lower())

    def keep(self, id: str, body: dict[str, Any], oid: str, asked: dict[str, Any] | None = None) -> Resource:
        """Store a resource with Azure's name, type and system data, and return it."""
        with self.lock:
            old = self._all.get(id.lower())
            shown = {**body, "id": old.id if old else id, "name": name_of(id), "type": type_of(id)}
            shown["systemData"] = _system_data(oid, old)
            resource = Resource(shown["id"], shown, copy.deepcopy(asked or {}), old.hidden if old else {})
            self._all[id.lower()] = resource
            return resource

    def drop(self, id: str) -> list[Resource]:
        """Remove the resource and everything below it. Return what was removed."""
        with self.lock:
            key = id.rstrip("/").lower()
            names = [name for name in self._all if name == key or name.startswith(f"{key}/")]
            return [self._all.pop(name) for name in names]

    def children(self, collection: str) -> list[Resource]:
        """Return the direct children in a collection `…/kind`."""
        prefix = collection.rstrip("/").lower() + "/"
        return [r for key, r in self._items() if key.startswith(prefix) and "/" not in key[len(prefix) :]]

    def of_type(self, type: str, under: str = "") -> list[Resource]:
        prefix = under.rstrip("/").lower()
        return [
            r
            for key, r in self._items()
            if r.body["type"].lower() == type.lower() and (not prefix or key.startswith(f"{prefix}/"))
        ]

    def all(self) -> list[Resource]:
        return [resource for _, resource in self._items()]

    def _items(self) -> Iterator[tuple[str, Resource]]:
        with self.lock:
            return iter(list(self._all.items()))


def now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _system_data(oid: str, old: Resource | None) -> dict[str, Any]:
    # azure-ai-ml requires lastModifiedAt.
    changed = {"lastModifiedAt": now(), "lastModifiedBy": oid, "lastModifiedByType": "User"}
    if old:
        return {**old.body["systemData"], **changed}
    return {"createdAt": now(), "createdBy": oid, "createdByType": "User", **changed}
