"""The requests of Cosmos DB's clients: routes, tokens, roles, partition keys, pages and session tokens."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from azure_emulator.cosmos_db import metadata
from azure_emulator.cosmos_db.containers import BatchFailed, Container
from azure_emulator.cosmos_db.errors import CosmosError, owner_missing, throttled, unavailable
from azure_emulator.cosmos_db.items import LARGEST_ITEM, Done, Item, Operation, too_large
from azure_emulator.cosmos_db.queries import query_of
from azure_emulator.faults import Kind
from azure_emulator.identity.tokens import InvalidToken
from azure_emulator.messages import Answer, Call
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

MOST_OPERATIONS = 100
LARGEST_PAGE = 1000
_ANY_AUDIENCE = "https://cosmos.azure.com"
_ACTIONS = "Microsoft.DocumentDB/databaseAccounts"
_ITEM_ACTIONS = {
    "Create": "create",
    "Read": "read",
    "Replace": "replace",
    "Upsert": "upsert",
    "Patch": "replace",
    "Delete": "delete",
}
_PARTITION_KEY = "x-ms-documentdb-partitionkey"


def handle(emulator: EmulatorState, call: Call, fault: Kind | None) -> Answer:
    """Answer a request to `<account>.documents.azure.com`. Raises CosmosError."""
    account = metadata.account_at(emulator, call.host)
    if account is None:
        raise CosmosError(404, f"There is no account at {call.host}.")
    oid = caller_of(emulator, account, call, expired=fault == "expired")
    if fault == "429":
        raise throttled()
    if fault == "503":
        raise unavailable()
    if not call.headers.get("x-ms-version"):
        raise CosmosError(400, "The x-ms-version header is missing.")
    answer = _Request(emulator, account, call, oid).answer()
    return Answer(answer.body, answer.status, {"x-ms-activity-id": str(uuid.uuid4()), **answer.headers})


def caller_of(emulator: EmulatorState, account: Resource, call: Call, expired: bool = False) -> str:
    """Return the object id in the token. Raises CosmosError (401)."""
    fields = dict(
        part.split("=", 1) for part in unquote(call.headers.get("authorization", "")).split("&") if "=" in part
    )
    if fields.get("type") == "master" and account.properties.get("disableLocalAuth"):
        raise CosmosError(401, "Local Authorization is disabled. Use an AAD token to authorize all requests.")
    if fields.get("type") != "aad" or not fields.get("sig"):
        raise CosmosError(
            401, "Required Header authorization is missing. Ensure a valid Authorization token is passed."
        )
    if expired:
        raise CosmosError(401, "The access token is expired.", 5013)
    reason = ""
    for audience in (f"https://{account.body['name'].lower()}{metadata.HOST}", _ANY_AUDIENCE):
        try:
            return emulator.tokens.read(fields["sig"], audience).oid
        except InvalidToken as e:
            reason = reason or str(e)
    raise CosmosError(401, f"The access token is not accepted: {reason}.")


class _Request:
    def __init__(self, emulator: EmulatorState, account: Resource, call: Call, oid: str) -> None:
        self._emulator, self._account, self._call, self._oid = emulator, account, call, oid
        self._headers = call.headers

    def answer(self) -> Answer:
        match (self._call.method, self._call.path.strip("/").split("/")):
            case ("GET", [""]):
                self._require_metadata()
                return Answer(metadata.account_of(self._account))
            case ("GET", ["dbs", database]):
                self._require("readMetadata", f"/dbs/{database}")
                return Answer(metadata.database_of(self._database(database)))
            case ("GET", ["dbs", database, "colls", name]):
                self._require("readMetadata", f"/dbs/{database}/colls/{name}")
                resource = self._container(database, name)
                return Answer(metadata.container_of(resource, self._data.container(resource).rid))
            case ("GET", ["dbs", database, "colls", name, "pkranges"]):
                self._require("readMetadata", f"/dbs/{database}/colls/{name}")
                rid = self._data.container(self._container(database, name)).rid
                etag = f'"{hashlib.sha256(rid.encode()).hexdigest()[:8]}"'
                if self._headers.get("if-none-match") == etag:
                    return Answer(None, 304, {"etag": etag})
                return Answer(metadata.ranges_of(rid), headers={"etag": etag})
            case (method, ["dbs", database, "colls", name, "docs", *rest]) if len(rest) < 2:
                return self._documents(method, f"/dbs/{database}/colls/{name}", self._container(database, name), *rest)
            case ("POST" | "PUT" | "DELETE", _):
                raise CosmosError(
                    403,
                    f"The given request [{self._call.method} {self._call.path}] cannot be authorized by AAD token in "
                    "data plane. Learn more: https://aka.ms/cosmos-native-rbac.",
                    5300,
                )
            case _:
                raise CosmosError(404, f"The local Azure has no {self._call.path}.")

    def _documents(self, method: str, place: str, resource: Resource, id: str = "") -> Answer:
        container = self._data.container(resource)
        intended = self._headers.get("x-ms-cosmos-intended-collection-rid")
        if intended and intended != container.rid:
            raise CosmosError(400, "The container was deleted and made again.", 1024)
        if self._call.size > LARGEST_ITEM:
            raise too_large()
        if method == "POST" and not id and self._is("x-ms-cosmos-is-query-plan-request"):
            raise CosmosError(400, "The local Azure makes no query plans.")
        if method == "POST" and not id and self._is("x-ms-documentdb-isquery"):
            self._require("sqlDatabases/containers/executeQuery", place)
            return self._query(container, place)
        key = self._key()
        if method == "POST" and not id and self._is("x-ms-cosmos-is-batch-request"):
            return self._batch(container, place, key)
        kind = {"GET": "Read", "PUT": "Replace", "PATCH": "Patch", "DELETE": "Delete"}.get(method, "") if id else ""
        if method == "POST" and not id:
            kind = "Upsert" if self._is("x-ms-documentdb-is-upsert") else "Create"
        if not kind:
            raise CosmosError(405, f"The local Azure does not answer {method} of {self._call.path}.")
        self._require(f"sqlDatabases/containers/items/{_ITEM_ACTIONS[kind]}", place)
        operation = Operation(
            kind, id, self._call.body, self._headers.get("if-match"), self._headers.get("if-none-match")
        )
        if kind == "Read":
            partition = self._data.read(container, key, self._session())
            done = Done(200, partition.find(id))
        else:
            try:
                [done] = self._data.write(container, key, [operation])
            except BatchFailed as e:
                raise e.error from e
        etag = {"etag": done.item["_etag"]} if done.item else {}
        return Answer(done.item, done.status, {**self._of(container, place), **etag})

    def _batch(self, container: Container, place: str, key: Any) -> Answer:
        asked = self._call.body
        if not isinstance(asked, list) or not asked or not self._is("x-ms-cosmos-batch-atomic"):
            raise CosmosError(400, "The local Azure does atomic batches of one operation or more.")
        if len(asked) > MOST_OPERATIONS:
            raise CosmosError(400, "Batch request has more operations than what is supported.")
        operations = [
            Operation(
                each["operationType"],
                each.get("id", ""),
                each.get("resourceBody"),
                each.get("ifMatch"),
                each.get("ifNoneMatch"),
            )
            for each in asked
        ]
        for kind in {operation.kind for operation in operations}:
            if kind not in _ITEM_ACTIONS:
                raise CosmosError(400, f"A batch has no operation {kind!r}.")
            self._require(f"sqlDatabases/containers/items/{_ITEM_ACTIONS[kind]}", place)
        try:
            done = self._data.write(container, key, operations)
        except BatchFailed as e:
            rows = [{"statusCode": 424, "requestCharge": 0.0} for _ in operations]
            rows[e.index]["statusCode"] = e.error.status
            return Answer(rows, 207, self._of(container, place))
        return Answer([_row(each) for each in done], 200, self._of(container, place))

    def _query(self, container: Container, place: str) -> Answer:
        if self._headers.get("content-type") != "application/query+json":
            raise CosmosError(400, "A query has the content type application/query+json.")
        text, given = str(self._call.body.get("query")), self._call.body.get("parameters") or []
        query, values = query_of(text, given, container.indexing, self._is("x-ms-documentdb-query-enable-scan"))
        if _PARTITION_KEY in self._headers:
            keys = [self._key()]
        elif query.across and self._is("x-ms-documentdb-query-enablecrosspartition"):
            keys = self._data.keys(container)
        else:
            raise CosmosError(400, "The local Azure answers this query with a partition key only.")
        items: list[Item] = []
        for key in keys:
            items += self._data.read(container, key, self._session()).items.values()
        rows = sorted((item for item in items if query.where(item, values)), key=_place)
        if query.newest_first:
            rows.sort(key=lambda item: str(item.get("updated")), reverse=True)
        rows, continuation = self._page(rows, hashlib.sha256(text.encode()).hexdigest()[:8], query.newest_first)
        body = {"_rid": container.rid, "Documents": [query.show(item) for item in rows], "_count": len(rows)}
        return Answer(body, 200, {**self._of(container, place), "x-ms-item-count": str(len(rows)), **continuation})

    def _page(self, rows: list[Item], query: str, newest_first: bool) -> tuple[list[Item], dict[str, str]]:
        """Return the page after the continuation token, and the token of the next page."""
        given = self._headers.get("x-ms-continuation")
        if given:
            try:
                asked, after = json.loads(given)
                if asked != query:
                    raise ValueError("a token of another query")
                before = [item for item in rows if not _is_after(item, after, newest_first)]
            except (ValueError, TypeError) as e:
                raise CosmosError(400, f"Invalid Continuation Token: {e}") from e
            rows = rows[len(before) :]
        most = int(self._headers.get("x-ms-max-item-count", -1))
        most = LARGEST_PAGE if most <= 0 else min(most, LARGEST_PAGE)
        if len(rows) <= most:
            return rows, {}
        last = rows[most - 1]
        return rows[:most], {"x-ms-continuation": json.dumps([query, [str(last.get("updated")), *_place(last)]])}

    def _of(self, container: Container, place: str) -> dict[str, str]:
        return {
            "x-ms-request-charge": "1.0",
            "x-ms-session-token": f"0:-1#{container.lsn}",
            "x-ms-alt-content-path": place.strip("/"),
            "x-ms-documentdb-partitionkeyrangeid": "0",
        }

    def _session(self) -> int | None:
        """Return the number of the write that the answer must show. Raises CosmosError (400)."""
        given = self._headers.get("x-ms-session-token")
        if not given:
            return None
        try:
            return int(given.rpartition("#")[2])
        except ValueError as e:
            raise CosmosError(400, f"The session token {given!r} is invalid.") from e

    def _key(self) -> Any:
        try:
            [key] = json.loads(self._headers.get(_PARTITION_KEY, ""))
        except (TypeError, ValueError) as e:
            raise CosmosError(400, "The partition key supplied in the header is missing or not one value.", 1001) from e
        return key

    def _is(self, header: str) -> bool:
        return self._headers.get(header, "").lower() == "true"

    @property
    def _data(self):
        return self._emulator.cosmos

    def _database(self, name: str) -> Resource:
        found = self._emulator.resources.find(f"{self._account.id}/sqlDatabases/{name}")
        if found is None:
            raise owner_missing()
        return found

    def _container(self, database: str, name: str) -> Resource:
        found = self._emulator.resources.find(f"{self._database(database).id}/containers/{name}")
        if found is None:
            raise owner_missing()
        return found

    def _require(self, action: str, place: str) -> None:
        full = f"{_ACTIONS}/{action}"
        if not self._emulator.authorization.allows(self._oid, full, f"{self._account.id}{place}", data=True):
            raise self._refusal(full, place)

    def _require_metadata(self) -> None:
        """A role on a part of the account is enough to read what the account is."""
        full = f"{_ACTIONS}/readMetadata"
        places = {a.scope for a in self._emulator.authorization.all() if a.oid == self._oid}
        inside = [place for place in places if f"{place}/".startswith(f"{self._account.id.lower()}/")]
        if not any(self._emulator.authorization.allows(self._oid, full, place, data=True) for place in inside):
            raise self._refusal(full, "/")

    def _refusal(self, action: str, place: str) -> CosmosError:
        return CosmosError(
            403,
            f"Request blocked by Auth {self._account.body['name']} : Request is blocked because principal "
            f"[{self._oid}] does not have required RBAC permissions to perform action [{action}] on resource "
            f"[{place.strip('/')}]. Learn more: https://aka.ms/cosmos-native-rbac.",
            5300,
        )


def _row(done: Done) -> Mapping[str, Any]:
    row: dict[str, Any] = {"statusCode": done.status, "requestCharge": 1.0}
    if done.item:
        row |= {"eTag": done.item["_etag"], "resourceBody": done.item}
    return row


def _place(item: Item) -> list[str]:
    return [str(item["_rid"])]


def _is_after(item: Item, after: list[str], newest_first: bool) -> bool:
    updated, rid = str(item.get("updated")), str(item["_rid"])
    if newest_first and updated != after[0]:
        return updated < after[0]
    return rid > after[1]
