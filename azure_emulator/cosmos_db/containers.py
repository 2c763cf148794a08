"""The containers' data: partitions of items with a time to live, and a replica that lags."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from azure_emulator.cosmos_db.errors import CosmosError
from azure_emulator.cosmos_db.items import Done, Item, Operation, Partition, alive, apply
from azure_emulator.resource_manager.resources import Resource

SNAPSHOTS = 20


@dataclass
class BatchFailed(Exception):
    """An operation of a batch failed, and so nothing was done."""

    index: int
    error: CosmosError


@dataclass
class Container:
    """A container's partitions by key. `lsn` counts its writes, as the session token does."""

    rid: str
    path: str
    default_ttl: int | None
    indexing: dict[str, Any]
    partitions: dict[str, Partition] = field(default_factory=dict)
    lsn: int = 1
    # The state after earlier writes, oldest first: (lsn, key, partition).
    snapshots: list[tuple[int, dict[str, Partition]]] = field(default_factory=list)


class CosmosData:
    """All containers' data by the container's resource id. `lags` makes reads answer from an old replica."""

    def __init__(self) -> None:
        self.lags = False
        self._lock = threading.RLock()
        self._offset = 0.0
        self._containers: dict[str, Container] = {}

    def advance(self, seconds: float) -> None:
        """Move Cosmos DB's clock, by which items expire."""
        self._offset += seconds

    def now(self) -> float:
        return time.time() + self._offset

    def container(self, resource: Resource) -> Container:
        """Return the container's data, with the settings that its resource has now."""
        settings = resource.properties["resource"]
        with self._lock:
            found = self._containers.get(resource.id.lower())
            if found is None:
                found = Container(f"{uuid.uuid4().hex[:11]}=", "", None, {})
                self._containers[resource.id.lower()] = found
            found.path = settings["partitionKey"]["paths"][0].removeprefix("/")
            found.default_ttl = settings.get("defaultTtl")
            found.indexing = settings.get("indexingPolicy") or {}
            return found

    def empty(self) -> None:
        """Delete all items, and set the clock right."""
        self._offset = 0.0
        with self._lock:
            for container in self._containers.values():
                container.partitions.clear()
                container.snapshots.clear()

    def forget(self, resource: Resource) -> None:
        with self._lock:
            self._containers.pop(resource.id.lower(), None)

    def read(self, container: Container, key: Any, session: int | None) -> Partition:
        """Return the living items of a partition, as the replica has them that the session token lets answer."""
        with self._lock:
            partitions = container.partitions
            if self.lags:
                partitions = next((p for lsn, p in container.snapshots if lsn >= (session or 0)), partitions)
            return self._living(container, partitions, key)

    def keys(self, container: Container) -> list[Any]:
        with self._lock:
            return [partition.key for partition in container.partitions.values()]

    def write(self, container: Container, key: Any, operations: Sequence[Operation]) -> list[Done]:
        """Do all operations or none. Raises BatchFailed."""
        with self._lock:
            partition = self._living(container, container.partitions, key)
            done: list[Done] = []
            for index, operation in enumerate(operations):
                try:
                    done.append(apply(partition, operation, container.rid, self.now()))
                except CosmosError as e:
                    raise BatchFailed(index, e) from e
            if any(operation.kind != "Read" for operation in operations):
                container.snapshots.append((container.lsn, dict(container.partitions)))
                del container.snapshots[:-SNAPSHOTS]
                container.lsn += 1
                container.partitions[json.dumps(key)] = partition
            return done

    def all_items(self, container: Container) -> list[Item]:
        """Return the living items of all partitions, for the control commands."""
        with self._lock:
            return [
                item
                for key in self.keys(container)
                for item in self._living(container, container.partitions, key).items.values()
            ]

    def _living(self, container: Container, partitions: dict[str, Partition], key: Any) -> Partition:
        """Return a copy of the partition without items whose time has ended."""
        found = partitions.get(json.dumps(key)) or Partition(container.path, key)
        now = self.now()
        living = {id: item for id, item in found.items.items() if alive(item, container.default_ttl, now)}
        return Partition(container.path, key, living)
