"""Queries by their exact text: what a client may send is listed here, as Python functions over one partition.

A general SQL engine would be larger than all the rest, and would accept what Cosmos DB does not. Text, parameters and
the composite index that an ORDER BY over two properties needs are checked; any other text is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from azure_emulator.cosmos_db.errors import CosmosError
from azure_emulator.cosmos_db.items import Item

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Query:
    """An accepted query: which items it finds, what it shows of each, and the order it needs an index for."""

    where: Callable[[Item, Values], bool]
    show: Callable[[Item], Any] = lambda item: item
    parameters: frozenset[str] = frozenset()
    newest_first: bool = False
    reads: tuple[str, ...] = ()  # paths that are compared, where an index may leave them out
    across: bool = False  # may be sent without a partition key


COMPOSITE = [{"path": "/kind", "order": "ascending"}, {"path": "/updated", "order": "descending"}]


def _contains(text: Any, part: str) -> bool:
    """CONTAINS(text, part, true): undefined, and so false, unless both are text."""
    return isinstance(text, str) and part.upper() in text.upper()


def _kind(kind: str) -> Callable[[Item, Values], bool]:
    return lambda item, values: item.get("kind") == kind


def _of_conversation(kind: str) -> Callable[[Item, Values], bool]:
    return lambda item, values: item.get("kind") == kind and item.get("conversation") == values["@conversation"]


ACCEPTED: dict[str, Query] = {
    'SELECT * FROM c WHERE c.kind = "conversation" ORDER BY c.kind ASC, c.updated DESC': Query(
        _kind("conversation"), newest_first=True
    ),
    'SELECT * FROM c WHERE c.kind = "conversation" AND ARRAY_CONTAINS(@conversations, c.conversation)': Query(
        lambda item, values: (
            item.get("kind") == "conversation" and item.get("conversation") in values["@conversations"]
        ),
        parameters=frozenset({"@conversations"}),
    ),
    "SELECT VALUE c.conversation FROM c WHERE CONTAINS(c.title, @search, true)"
    " OR CONTAINS(c.content, @search, true)": Query(
        lambda item, values: any(_contains(item.get(name), values["@search"]) for name in ("title", "content")),
        lambda item: item["conversation"],
        frozenset({"@search"}),
        reads=("/title/?", "/content/?"),
    ),
    'SELECT * FROM c WHERE c.kind = "message" AND c.conversation = @conversation': Query(
        _of_conversation("message"), parameters=frozenset({"@conversation"})
    ),
    'SELECT c.id, c._ts, c.ttl FROM c WHERE c.kind = "message" AND c.conversation = @conversation': Query(
        _of_conversation("message"),
        lambda item: {name: item[name] for name in ("id", "_ts", "ttl") if name in item},
        frozenset({"@conversation"}),
    ),
    'SELECT VALUE c.id FROM c WHERE c.kind = "message"': Query(_kind("message"), lambda item: item["id"]),
    'SELECT VALUE c.id FROM c WHERE c.kind = "feedback"': Query(_kind("feedback"), lambda item: item["id"]),
    'SELECT VALUE c.id FROM c WHERE c.kind = "feedback" AND c.conversation = @conversation': Query(
        _of_conversation("feedback"), lambda item: item["id"], frozenset({"@conversation"})
    ),
    "SELECT * FROM c": Query(lambda item, values: True, across=True),
}


def query_of(
    text: str, given: list[dict[str, Any]], indexing: Mapping[str, Any], may_scan: bool
) -> tuple[Query, dict[str, Any]]:
    """Return the accepted query and its parameters. Raises CosmosError (400)."""
    found = ACCEPTED.get(text)
    if found is None:
        raise CosmosError(400, f"The local Azure does not accept this query: {text}")
    values = {each["name"]: each["value"] for each in given}
    if set(values) != found.parameters:
        raise CosmosError(400, f"The query has the parameters {sorted(found.parameters)}, not {sorted(values)}.")
    if found.newest_first and not _has_composite(indexing):
        raise CosmosError(
            400, "The order by query does not have a corresponding composite index that it can be served from."
        )
    excluded = {each["path"] for each in indexing.get("excludedPaths", ())}
    if not may_scan and excluded.intersection(found.reads):
        raise CosmosError(
            400,
            "An invalid query has been specified with filters against path(s) excluded from indexing. Consider adding "
            "allow scan header in the request.",
        )
    return found, values


def _has_composite(indexing: Mapping[str, Any]) -> bool:
    wanted = [(each["path"], each["order"]) for each in COMPOSITE]
    return any(
        [(each["path"], each.get("order", "ascending")) for each in index] == wanted
        for index in indexing.get("compositeIndexes", ())
    )
