"""A container of Cosmos DB, one partition at a time: the SDK's calls with limits in time, and the chat's own errors."""

from __future__ import annotations

import asyncio
import json
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azure.core.exceptions import AzureError
from azure.cosmos.aio import ContainerProxy, CosmosClient
from azure.cosmos.exceptions import CosmosBatchOperationError, CosmosHttpResponseError

from chat_code.errors import HistoryUnavailable, Refused

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

Item = dict[str, Any]
Operation = tuple[str, tuple[Any, ...], dict[str, str]]
MOST_OPERATIONS = 100
# Bytes of a batch. Cosmos DB takes 2 MB; aiohttp warns from 1 MiB on, since it sends a body in one piece.
LARGEST = 1_000_000
THROTTLED_RETRIES = 9
THROTTLED_SECONDS = 10
CALL_SECONDS = 30
REMEMBERED_SESSIONS = 10_000
RETRY_SECONDS = 2
OWNER_MISSING = 1003  # sub-status of 404: the container, not the item
SESSION_NOT_AVAILABLE = 1002
SESSION_TOKEN = "x-ms-session-token"
RETRY_AFTER_MS = "x-ms-retry-after-ms"
WHAT_TO_DO = {
    401: "its token is not accepted",
    403: "the chat needs a data role on the container",
    429: "it is asked too often now",
}


@dataclass
class OperationFailed(Exception):
    """An operation of a batch failed with 404, 409 or 412, and so nothing was written. `index` is its place."""

    index: int
    status: int


def create(item: Item) -> Operation:
    """Write a new item; fails with 409 when its id is taken."""
    return "create", (item,), {}


def upsert(item: Item) -> Operation:
    """Write an item, also over another with its id."""
    return "upsert", (item,), {}


def replace(item: Item, etag: str = "") -> Operation:
    """Write an item over the one with its id; fails with 412 when that has another etag than the given one."""
    return "replace", (item["id"], item), {"if_match_etag": etag} if etag else {}


def patch(id: str, **values: Any) -> Operation:
    """Set up to ten properties of an item."""
    return "patch", (id, [{"op": "set", "path": f"/{name}", "value": value} for name, value in values.items()]), {}


def add(id: str, **numbers: int) -> Operation:
    """Add to up to ten numbers of an item."""
    return "patch", (id, [{"op": "incr", "path": f"/{name}", "value": value} for name, value in numbers.items()]), {}


def read(id: str) -> Operation:
    """Let the batch fail with 404 unless the item exists."""
    return "read", (id,), {}


def delete(id: str, etag: str = "") -> Operation:
    """Delete an item; fails with 412 when it has another etag than the given one."""
    return "delete", (id,), {"if_match_etag": etag} if etag else {}


def require_fits(what: str, *items: Item) -> None:
    """Raise Refused when the items are too large to be written together."""
    size = sum(map(size_of, items))
    if size > LARGEST:
        raise Refused("too_large", f"{what} has {size:,} bytes and at most {LARGEST:,} can be kept; shorten it")


def size_of(item: Any) -> int:
    """Return the bytes of a value's JSON."""
    return len(json.dumps(item, ensure_ascii=False).encode(errors="surrogatepass"))


class Account:
    """The client of an account, which is opened at its first use. Used from one event loop only."""

    def __init__(self, url: str, credential: AsyncTokenCredential, database: str) -> None:
        self._url, self._credential, self._database = url, credential, database
        self._client: CosmosClient | None = None
        self._opening = asyncio.Lock()

    async def open(self, name: str) -> ContainerProxy:
        """Return a container that exists. Raises the SDK's errors."""
        async with self._opening:
            if self._client is None:
                client = CosmosClient(
                    self._url,
                    self._credential,
                    retry_throttle_total=THROTTLED_RETRIES,
                    retry_throttle_backoff_max=THROTTLED_SECONDS,
                    connection_timeout=5,
                    read_timeout=15,
                    # Without it the SDK sends six bytes for a letter that has three in UTF-8, of the 2 MB.
                    enable_compact_utf8_item_writes=True,
                )
                try:
                    await client.__aenter__()  # without it the client sends no session tokens
                except BaseException:
                    await client.close()
                    raise
                self._client = client
        container = self._client.get_database_client(self._database).get_container_client(name)
        await container.read()
        return container

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None


class Container:
    """A container whose partition key is the user: every call but `everything` names one.

    Every method raises HistoryUnavailable when Cosmos DB does not answer, or refuses the chat.
    """

    def __init__(self, account: Account, name: str) -> None:
        self._account, self._name = account, name
        self._container: ContainerProxy | None = None
        # The SDK keeps session tokens of single writes but not of batches: without them a read just after a batch may
        # answer from a replica that does not have it yet.
        self._sessions: OrderedDict[str, str] = OrderedDict()

    async def find(self, user: str, id: str) -> Item | None:
        """Return an item, or None."""
        async with self._calling(user) as container:
            try:
                return dict(await container.read_item(id, user, session_token=self._sessions.get(user)))
            except CosmosHttpResponseError as e:
                if e.status_code == 404 and e.sub_status not in (OWNER_MISSING, SESSION_NOT_AVAILABLE):
                    return None
                raise

    async def write(self, user: str, *operations: Operation) -> list[Item]:
        """Do all operations or none, and return the items as they are afterwards. Raises OperationFailed."""
        async with self._calling(user) as container:
            try:
                done = await container.execute_item_batch(
                    list(operations), user, session_token=self._sessions.get(user)
                )
            except CosmosBatchOperationError as e:
                if e.status_code in (404, 409, 412):
                    raise OperationFailed(int(e.error_index or 0), e.status_code) from e
                raise
            self._remember(user, done.get_response_headers().get(SESSION_TOKEN, ""))
            return [dict(each.get("resourceBody") or {}) for each in done]

    async def delete_each(self, user: str, ids: Sequence[str]) -> None:
        """Delete items in batches. Raises OperationFailed when one is missing; earlier batches stay deleted."""
        for start in range(0, len(ids), MOST_OPERATIONS):
            await self.write(user, *(delete(id) for id in ids[start : start + MOST_OPERATIONS]))

    async def query(self, user: str, text: str, **parameters: Any) -> list[Any]:
        """Return all rows of a query."""
        rows: list[Any] = []
        continuation = ""
        while True:
            found, continuation = await self.page(user, text, 0, continuation, **parameters)
            rows += found
            if not continuation:
                return rows

    async def page(
        self, user: str, text: str, size: int, continuation: str, **parameters: Any
    ) -> tuple[list[Any], str]:
        """Return the rows after a continuation token, `size` at most unless it is 0, and the token of the next.

        Raises Refused when the token is none of this query.
        """
        async with self._calling(user) as container:
            given = [{"name": f"@{name}", "value": value} for name, value in parameters.items()]
            pages: Any = container.query_items(
                text,
                parameters=given,
                partition_key=user,
                max_item_count=size or None,
                # Texts are not indexed: a search of them is refused without it.
                enable_scan_in_query=True,
                session_token=self._sessions.get(user),
            ).by_page(continuation or None)
            try:
                rows = [row async for row in await anext(pages)]
            except StopAsyncIteration:
                return [], ""
            except CosmosHttpResponseError as e:
                if e.status_code == 400 and continuation:
                    raise Refused("invalid", "cursor is none that this list gave; begin it again") from e
                raise
            return rows, pages.continuation_token or ""

    async def everything(self) -> AsyncIterator[Item]:
        """Yield the items of all users."""
        async with self._calling("") as container:
            pages = container.query_items("SELECT * FROM c").by_page()
        while True:
            async with self._calling(""):
                try:
                    rows = [dict(row) async for row in await anext(pages)]
                except StopAsyncIteration:
                    return
            for row in rows:
                yield row

    @asynccontextmanager
    async def _calling(self, user: str) -> AsyncIterator[ContainerProxy]:
        with self._translated(user):
            async with asyncio.timeout(CALL_SECONDS):
                if self._container is None:
                    self._container = await self._account.open(self._name)
                yield self._container

    @contextmanager
    def _translated(self, user: str) -> Iterator[None]:
        try:
            yield
        except TimeoutError as e:
            raise HistoryUnavailable(f"{self._name}: no answer in {CALL_SECONDS} s", RETRY_SECONDS) from e
        except AzureError as e:
            status = getattr(e, "status_code", None)
            if status == 413:
                raise Refused(
                    "too_large", f"a message has more bytes than can be kept ({LARGEST:,}); shorten it"
                ) from e
            if getattr(e, "sub_status", None) == SESSION_NOT_AVAILABLE:
                self._sessions.pop(user, None)
            why = WHAT_TO_DO.get(status or 0, "") or ("there is no such container" if status == 404 else "")
            detail = why or (f"status {status}" if status else type(e).__name__)
            raise HistoryUnavailable(f"{self._name}: {detail}", _retry_after(e)) from e

    def _remember(self, user: str, token: str) -> None:
        if token and not _is_older(token, self._sessions.get(user, "")):
            self._sessions[user] = token
        if user in self._sessions:
            self._sessions.move_to_end(user)
        while len(self._sessions) > REMEMBERED_SESSIONS:
            self._sessions.popitem(last=False)


def _is_older(token: str, other: str) -> bool:
    """Return whether a token (`<partition>:<version>#<write>#...`) is of an earlier write to the same partition."""
    own, its = token.split("#"), other.split("#")
    if own[0] != its[0] or len(own) < 2 or not (own[1].isdigit() and its[1].isdigit()):
        return False
    return int(own[1]) < int(its[1])


def _retry_after(error: AzureError) -> int:
    headers = getattr(error, "headers", None) or {}
    try:
        return max(1, math.ceil(int(headers[RETRY_AFTER_MS]) / 1000))
    except (KeyError, TypeError, ValueError):
        return RETRY_SECONDS
