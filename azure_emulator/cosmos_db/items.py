"""The items of one partition: Cosmos DB's checks of an item, its system properties, and operations on items."""

from __future__ import annotations

import copy
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from azure_emulator.cosmos_db.errors import CosmosError, item_missing

Item = dict[str, Any]
LARGEST_ITEM = 2 * 1024 * 1024  # bytes of JSON in UTF-8
LONGEST_ID = 1023  # bytes
LONGEST_TTL = 2**31 - 1
MOST_PATCHES = 10
_SYSTEM = ("_rid", "_self", "_etag", "_attachments", "_ts")
_FORBIDDEN = re.compile(r"[/\\?#]")


@dataclass
class Partition:
    """Items of one partition key by id. `key` is the value, `path` the property that holds it."""

    path: str
    key: Any
    items: dict[str, Item] = field(default_factory=dict)

    def find(self, id: str) -> Item:
        """Return the item. Raises CosmosError (404)."""
        if id not in self.items:
            raise item_missing()
        return self.items[id]

    def copied(self) -> Partition:
        """Return a partition to change without changing this one."""
        return Partition(self.path, self.key, dict(self.items))


@dataclass(frozen=True)
class Operation:
    """One operation on one item: of a request, or of a batch."""

    kind: str  # Create, Read, Replace, Upsert, Patch, Delete
    id: str = ""
    body: Any = None
    if_match: str | None = None
    if_none_match: str | None = None


@dataclass(frozen=True)
class Done:
    """The status of an operation, and the item as it is afterwards; None after a deletion."""

    status: int
    item: Item | None


def apply(partition: Partition, operation: Operation, rid: str, now: float) -> Done:
    """Do an operation in the partition. Raises CosmosError, and then nothing has changed."""
    if operation.kind in ("Create", "Upsert"):
        body = checked(partition, operation.body)
        old = partition.items.get(body["id"])
        if old is not None and operation.kind == "Create":
            raise CosmosError(409, "Entity with the specified id already exists in the system.")
        if old is not None:
            _require_match(old, operation)
        partition.items[body["id"]] = _stored(body, rid, now)
        return Done(201 if old is None else 200, partition.items[body["id"]])
    old = partition.find(operation.id)
    if operation.kind == "Read":
        unchanged = operation.if_none_match is not None and operation.if_none_match == old["_etag"]
        return Done(304, None) if unchanged else Done(200, old)
    _require_match(old, operation)
    if operation.kind == "Delete":
        del partition.items[operation.id]
        return Done(204, None)
    if operation.kind == "Patch":
        body = checked(partition, _patched(old, operation.body))
    else:
        body = checked(partition, operation.body)
        if body["id"] != operation.id:
            raise CosmosError(400, "The id of the item and the id of the address differ.")
    partition.items[operation.id] = _stored(body, rid, now)
    return Done(200, partition.items[operation.id])


def alive(item: Item, default_ttl: int | None, now: float) -> bool:
    """Return whether the item's time to live has not ended. Without the container's default, none ends."""
    ttl = None if default_ttl is None else item.get("ttl", default_ttl)
    return ttl is None or ttl == -1 or now < item["_ts"] + ttl


def checked(partition: Partition, body: Any) -> Item:
    """Return a copy of the item as a client may write it. Raises CosmosError."""
    if not isinstance(body, dict):
        raise CosmosError(400, "The request payload is invalid. Ensure to provide a valid request payload.")
    id = body.get("id")
    if not isinstance(id, str) or not id or len(id.encode()) > LONGEST_ID or _FORBIDDEN.search(id) or id[-1] == " ":
        raise CosmosError(
            400, f"The input id {id!r} is missing or invalid: no '/', '\\', '?' or '#', nor a last space."
        )
    if body.get(partition.path) != partition.key:
        raise CosmosError(
            400, "PartitionKey extracted from document doesn't match the one specified in the header.", 1001
        )
    ttl = body.get("ttl", -1)
    if type(ttl) is not int or ttl == 0 or ttl < -1 or ttl > LONGEST_TTL:
        raise CosmosError(
            400,
            f"The input ttl '{ttl}' is invalid. Ensure to provide a nonzero positive (less than or equal to "
            f"'{LONGEST_TTL}') integer, or -1 for never expire.",
        )
    if size_of(body) > LARGEST_ITEM:
        raise too_large()
    return {name: copy.deepcopy(value) for name, value in body.items() if name not in _SYSTEM}


def size_of(body: Any) -> int:
    return len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def too_large() -> CosmosError:
    return CosmosError(413, "Request size is too large")


def _stored(body: Item, rid: str, now: float) -> Item:
    own = uuid.uuid4().hex
    return {
        **body,
        "_rid": f"{rid}{own[:8]}==",
        "_self": f"dbs/{rid[:6]}==/colls/{rid}/docs/{rid}{own[:8]}==/",
        "_etag": f'"{own}"',
        "_attachments": "attachments/",
        "_ts": int(now),
    }


def _require_match(old: Item, operation: Operation) -> None:
    if operation.if_match not in (None, "*", old["_etag"]):
        raise CosmosError(412, "One of the specified pre-condition is not met.")


def _patched(old: Item, body: Any) -> Item:
    asked = body.get("operations") if isinstance(body, dict) else None
    if not isinstance(asked, list) or not 0 < len(asked) <= MOST_PATCHES:
        raise CosmosError(400, f"A patch has 1 to {MOST_PATCHES} operations.")
    if body.get("condition") is not None:
        raise CosmosError(400, "The local Azure evaluates no conditions of patches.")
    new = copy.deepcopy(old)
    for each in asked:
        name = str(each.get("path", "")).removeprefix("/")
        if not name or "/" in name or name == "id" or name in _SYSTEM:
            raise CosmosError(400, f"The local Azure cannot patch the path {each.get('path')!r}.")
        match each.get("op"):
            case "set" | "add":
                new[name] = copy.deepcopy(each["value"])
            case "replace" if name in new:
                new[name] = copy.deepcopy(each["value"])
            case "incr" if isinstance(new.get(name, 0), int | float):
                new[name] = new.get(name, 0) + each["value"]
            case "remove" if name in new:
                del new[name]
            case other:
                raise CosmosError(400, f"The patch {other!r} of {each.get('path')!r} is not possible.")
    return new
