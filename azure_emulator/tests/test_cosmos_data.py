"""Cosmos DB's data plane, with requests as its clients send them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from azure_emulator.identity.identities import SUBSCRIPTION, USER
from azure_emulator.identity.tokens import Tokens
from azure_emulator.process import LocalAzure

pytestmark = pytest.mark.azure
ACCOUNT = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data/providers/Microsoft.DocumentDB/databaseAccounts/cosmos-data"
)
HOST = "https://cosmos-data.documents.azure.com"
CONTAINER = f"{ACCOUNT}/sqlDatabases/chat/containers/items"
DOCS = "/dbs/chat/colls/items/docs"
NEWEST = 'SELECT * FROM c WHERE c.kind = "conversation" ORDER BY c.kind ASC, c.updated DESC'
LARGE = 2 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def container(azure: LocalAzure) -> None:
    azure.control.plant(ACCOUNT, {"location": "eastus2", "properties": {"disableLocalAuth": True}})
    azure.control.plant(f"{ACCOUNT}/sqlDatabases/chat", {"properties": {}})
    made = {"id": "items", "partitionKey": {"paths": ["/user_id"], "kind": "Hash", "version": 2}, "defaultTtl": -1}
    azure.control.plant(CONTAINER, {"properties": {"resource": made}})
    azure.control.give_role(USER, "Cosmos DB Built-in Data Contributor", ACCOUNT)


@pytest.fixture(autouse=True)
def empty(azure: LocalAzure) -> Iterator[None]:
    azure.control.cosmos_empty()
    yield
    azure.control.clear_faults()


def ask(
    azure: LocalAzure, method: str, path: str, body: Any = None, user: str | None = "ann", **headers: str
) -> httpx.Response:
    """Send a request with the token of the signed-in user, unless `authorization` is another."""
    sent = {
        "authorization": f"type=aad&ver=1.0&sig={Tokens(azure.state).issue(USER, HOST)}",
        "x-ms-version": "2020-07-15",
        **({"x-ms-documentdb-partitionkey": json.dumps([user])} if user is not None else {}),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    with httpx.Client() as client:
        return client.request(method, HOST + path, content=content, headers=sent, timeout=30)


def item(id: str = "one", user: str = "ann", **fields: Any) -> dict[str, Any]:
    return {"id": id, "user_id": user, **fields}


def batch(azure: LocalAzure, *operations: dict[str, Any], user: str = "ann") -> httpx.Response:
    headers = {"x_ms_cosmos_is_batch_request": "True", "x_ms_cosmos_batch_atomic": "True"}
    return ask(azure, "POST", DOCS, list(operations), user, **headers)


def query(azure: LocalAzure, text: str, user: str | None = "ann", **headers: str) -> httpx.Response:
    given = {"x_ms_documentdb_isquery": "True", "content_type": "application/query+json", **headers}
    return ask(azure, "POST", DOCS, {"query": text, "parameters": []}, user, **given)


def test_an_item_is_made_read_replaced_patched_and_deleted(azure: LocalAzure) -> None:
    made = ask(azure, "POST", DOCS, item(kind="a"))
    assert made.status_code == 201
    assert made.json()["_etag"] == made.headers["etag"]
    assert ask(azure, "POST", DOCS, item()).status_code == 409
    assert ask(azure, "POST", DOCS, item(kind="b"), x_ms_documentdb_is_upsert="True").status_code == 200
    assert ask(azure, "PUT", f"{DOCS}/one", item(kind="c"), if_match=made.headers["etag"]).status_code == 412
    assert ask(azure, "PUT", f"{DOCS}/one", item(kind="c")).status_code == 200
    patches = [{"op": "set", "path": "/kind", "value": "d"}, {"op": "incr", "path": "/count", "value": 2}]
    patched = ask(azure, "PATCH", f"{DOCS}/one", {"operations": patches}).json()
    assert (patched["kind"], patched["count"]) == ("d", 2)
    read = ask(azure, "GET", f"{DOCS}/one")
    assert read.json() == patched
    assert read.headers["x-ms-session-token"].startswith("0:-1#")
    assert ask(azure, "DELETE", f"{DOCS}/one").status_code == 204
    for method in ("GET", "DELETE"):
        assert ask(azure, method, f"{DOCS}/one").status_code == 404


@pytest.mark.parametrize(
    ("sent", "user"),
    [
        (item(user="bob"), "ann"),
        ({"id": "one"}, "ann"),
        (item(), None),
        *((item(id), "ann") for id in ("a/b", "a\\b", "a?b", "a#b", "", "a ", "x" * 1024)),
        *((item(ttl=ttl), "ann") for ttl in (0, -2, "1", 1.5, 2**31)),
        ("text", "ann"),
    ],
)
def test_an_item_that_does_not_fit_its_partition_or_has_a_wrong_id_or_life_is_refused(
    azure: LocalAzure, sent: Any, user: str | None
) -> None:
    refused = ask(azure, "POST", DOCS, sent, user)
    assert (refused.status_code, refused.json()["code"]) == (400, "BadRequest")
    assert azure.control.cosmos_items(CONTAINER) == []


def test_another_persons_item_is_not_found_under_ones_own_key(azure: LocalAzure) -> None:
    ask(azure, "POST", DOCS, item(kind="conversation", updated="1"))
    assert ask(azure, "GET", f"{DOCS}/one", user="bob").status_code == 404
    assert ask(azure, "DELETE", f"{DOCS}/one", user="bob").status_code == 404
    assert ask(azure, "PUT", f"{DOCS}/one", item(), "bob").status_code == 404
    assert query(azure, "SELECT * FROM c", "bob").json()["Documents"] == []
    assert query(azure, "SELECT * FROM c", None).status_code == 400
    across = query(azure, "SELECT * FROM c", None, x_ms_documentdb_query_enablecrosspartition="True")
    assert [each["id"] for each in across.json()["Documents"]] == ["one"]


def test_a_batch_is_done_as_a_whole_or_not_at_all(azure: LocalAzure) -> None:
    new = [{"operationType": "Create", "resourceBody": item(name)} for name in ("one", "two")]
    assert [row["statusCode"] for row in batch(azure, *new).json()] == [201, 201]
    three = {"operationType": "Create", "resourceBody": item("three")}
    cases = (
        ({"operationType": "Read", "id": "four"}, 404),
        ({"operationType": "Create", "resourceBody": item("two")}, 409),
        ({"operationType": "Replace", "id": "two", "resourceBody": item("two"), "ifMatch": '"old"'}, 412),
        ({"operationType": "Create", "resourceBody": item("four", "bob")}, 400),
        ({"operationType": "Delete", "id": "four"}, 404),
    )
    for failing, status in cases:
        gone = {"operationType": "Delete", "id": "one"}
        failed = batch(azure, three, gone, failing, three)
        assert failed.status_code == 207
        assert [row["statusCode"] for row in failed.json()] == [424, 424, status, 424]
        assert {each["id"] for each in azure.control.cosmos_items(CONTAINER)} == {"one", "two"}


def test_a_batch_has_a_hundred_operations_and_two_megabytes_at_most(azure: LocalAzure) -> None:
    many = [{"operationType": "Create", "resourceBody": item(f"item-{number}")} for number in range(101)]
    assert batch(azure, *many).status_code == 400
    assert batch(azure, *many[:100]).status_code == 200
    large = [{"operationType": "Create", "resourceBody": item(name, text="x" * (LARGE // 2))} for name in ("a", "b")]
    assert batch(azure, *large).status_code == 413


def test_an_item_over_two_megabytes_is_refused_also_when_patches_make_it_so(azure: LocalAzure) -> None:
    assert ask(azure, "POST", DOCS, item(text="x" * LARGE)).status_code == 413
    assert ask(azure, "POST", DOCS, item(text="x" * (LARGE - 200))).status_code == 201
    more = {"operations": [{"op": "set", "path": "/more", "value": "x" * 1000}]}
    assert ask(azure, "PATCH", f"{DOCS}/one", more).status_code == 413


def test_items_expire_by_the_emulators_clock_where_the_container_lets_them(azure: LocalAzure) -> None:
    ask(azure, "POST", DOCS, item("short", ttl=60))
    ask(azure, "POST", DOCS, item("long"))
    azure.control.cosmos_advance(59)
    assert ask(azure, "GET", f"{DOCS}/short").status_code == 200
    azure.control.cosmos_advance(2)
    assert ask(azure, "GET", f"{DOCS}/short").status_code == 404
    assert ask(azure, "POST", DOCS, item("short")).status_code == 201
    assert [each["id"] for each in azure.control.cosmos_items(CONTAINER)] == ["long", "short"]


@pytest.mark.parametrize(
    ("oid", "audience", "seconds", "status"),
    [
        (USER, HOST, 3600, 200),
        (USER, "https://cosmos.azure.com", 3600, 200),
        (USER, "https://cosmos-other.documents.azure.com", 3600, 401),
        (USER, "https://management.azure.com", 3600, 401),
        (USER, HOST, -60, 401),
        ("99999999-9999-4999-8999-999999999999", HOST, 3600, 403),
    ],
)
def test_a_token_must_be_for_the_account_and_its_owner_have_a_data_role(
    azure: LocalAzure, oid: str, audience: str, seconds: float, status: int
) -> None:
    token = Tokens(azure.state).issue(oid, audience, seconds=seconds)
    headers = {"authorization": f"type=aad&ver=1.0&sig={token}"}
    for path in ("/", "/dbs/chat/colls/items", "/dbs/chat/colls/items/pkranges"):
        assert ask(azure, "GET", path, user=None, **headers).status_code == status
    assert ask(azure, "GET", f"{DOCS}/one", **headers).status_code == (404 if status == 200 else status)


def test_account_keys_are_refused(azure: LocalAzure) -> None:
    refused = ask(azure, "GET", "/", authorization="type=master&ver=1.0&sig=abc")
    assert refused.status_code == 401
    assert "Local Authorization is disabled" in refused.json()["message"]


def test_the_data_plane_makes_and_deletes_no_database_or_container(azure: LocalAzure) -> None:
    for method, path in (("POST", "/dbs"), ("POST", "/dbs/chat/colls"), ("DELETE", "/dbs/chat/colls/items")):
        refused = ask(azure, method, path, {"id": "new"}, None)
        assert (refused.status_code, refused.headers["x-ms-substatus"]) == (403, "5300")


def test_an_unknown_query_or_one_without_its_index_is_refused(azure: LocalAzure) -> None:
    assert "does not accept" in query(azure, "SELECT c.id FROM c").json()["message"]
    assert "composite index" in query(azure, NEWEST).json()["message"]


def test_throttling_says_when_to_come_again(azure: LocalAzure) -> None:
    azure.control.fail_next("POST cosmos docs", "429")
    refused = ask(azure, "POST", DOCS, item())
    assert (refused.status_code, refused.headers["x-ms-retry-after-ms"]) == (429, "10")
    assert azure.control.cosmos_items(CONTAINER) == []


def test_a_containers_partition_key_stays(azure: LocalAzure) -> None:
    token = Tokens(azure.state).issue(USER, "https://management.azure.com")
    key = {"paths": ["/other"], "kind": "Hash", "version": 2}
    body = {"properties": {"resource": {"id": "items", "partitionKey": key}}}
    azure.control.plant(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-data", {"location": "eastus2"})
    azure.control.set_provider("Microsoft.DocumentDB", "Registered")
    with httpx.Client() as client:
        address = f"https://management.azure.com{CONTAINER}?api-version=2025-10-15"
        refused = client.put(address, json=body, headers={"authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (
        400,
        "Document collection partition key cannot be changed.",
    )
