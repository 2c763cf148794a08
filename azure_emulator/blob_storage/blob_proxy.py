"""Forwards requests to Azurite as streams, so that no blob is held in memory as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpcore

from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.blob_storage.blob_access import Refused

# Headers of one connection, and credentials: Azurite's own signature is added to the query.
_NOT_FORWARDED = frozenset({"connection", "keep-alive", "transfer-encoding", "authorization", "host", "expect"})


class ClientDisconnected(Exception):
    """The client disconnected during its request."""


class AzuriteProxy:
    """Forwards requests through a pool of connections to one Azurite."""

    def __init__(self, azurite: Azurite | SharedAzurite) -> None:
        self._azurite = azurite
        # Azurite closes idle connections after five seconds; they expire here before that.
        self._pool = httpcore.AsyncConnectionPool(max_connections=64, keepalive_expiry=2.0)

    async def forward(
        self, scope: Any, account: str, query: str, headers: dict[str, str], receive: Any, send: Any | None
    ) -> int:
        """Forward a request. Return Azurite's status; the response goes to `send`, if given."""
        raw_path = scope.get("raw_path", scope["path"].encode()).partition(b"?")[0]
        own = self._azurite.access(account).encode()
        target = (
            f"/{self._azurite.slot(account)}".encode()
            + raw_path
            + b"?"
            + (query.encode() + b"&" if query else b"")
            + own
        )
        kept = [(name, value) for name, value in headers.items() if name not in _NOT_FORWARDED]
        host = f"127.0.0.1:{self._azurite.port}"
        has_body = int(headers.get("content-length") or 0) > 0 or "transfer-encoding" in headers
        request = httpcore.Request(
            method=scope["method"],
            url=httpcore.URL(scheme=b"http", host=b"127.0.0.1", port=self._azurite.port, target=target),
            headers=[(b"host", host.encode()), *((name.encode(), value.encode("latin1")) for name, value in kept)],
            content=_chunks(receive) if has_body else b"",
            extensions={"timeout": {"connect": 10, "read": 120, "write": 120, "pool": 120}},
        )
        try:
            answer = await self._pool.handle_async_request(request)
        except ClientDisconnected:
            return 499  # nginx's status for a client that disconnected
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as e:
            message = "The server encountered an internal error. Please retry the request."
            raise Refused(500, "InternalError", message, detail=f"Azurite: {e!r}") from e
        try:
            if send:
                await _send_on(answer, send)
        finally:
            await answer.aclose()
        return answer.status

    async def close(self) -> None:
        await self._pool.aclose()


async def _chunks(receive: Any) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


async def _send_on(answer: httpcore.Response, send: Any) -> None:
    headers = [(name.lower(), value) for name, value in answer.headers if name.lower() != b"connection"]
    headers = [pair for pair in headers if pair[0] not in (b"keep-alive", b"transfer-encoding", b"server", b"date")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    async for chunk in answer.aiter_stream():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0)  # let other requests run between chunks
    await send({"type": "http.response.body", "body": b""})
