"""An HTTP proxy on loopback that tunnels Azure's host names to local ports and refuses every other host.

It never resolves a name, so its clients cannot reach anything outside the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
from collections.abc import Callable, Sequence

Route = Callable[[str], int | None]  # host name → loopback port, or None for an unknown host
CHUNK = 256 * 1024  # bytes per read; model weights pass through here
REQUEST_SECONDS = 30


def by_rules(rules: Sequence[tuple[str, int]]) -> Route:
    """Return a route to the port of the first `(pattern, port)` that matches the host (`*.blob.core.windows.net`)."""

    def route(host: str) -> int | None:
        return next((port for pattern, port in rules if fnmatch.fnmatchcase(host, pattern)), None)

    return route


class Proxy:
    """A listening proxy; closing it also closes its tunnels."""

    def __init__(self, find: Route, on_connect: Callable[[str, int | None], None]) -> None:
        self._find, self._on_connect = find, on_connect
        self._tunnels: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)

    @property
    def port(self) -> int:
        assert self._server
        return self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        assert self._server
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tunnels.add(task)
        try:
            with contextlib.closing(writer):
                await self._tunnel(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # one side closed the connection, which ends the tunnel
        except asyncio.CancelledError:
            return  # the proxy is closing; asyncio's streams would log a cancelled task as an error
        finally:
            self._tunnels.discard(task)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = await asyncio.wait_for(_requested_host(reader), REQUEST_SECONDS)
        target = self._find(host) if host else None
        if host:
            self._on_connect(host, target)
        if target is None:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        with contextlib.closing(far_writer):
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _both_ways(reader, writer, far_reader, far_writer)


async def serve(
    route: Route | Sequence[tuple[str, int]],
    port: int = 0,
    on_connect: Callable[[str, int | None], None] = lambda host, port: None,
) -> Proxy:
    """Start a proxy on 127.0.0.1 in this event loop.

    `route` may be a list of rules. `on_connect(host, port)` is called for every request, with port None if refused.
    """
    made = Proxy(route if callable(route) else by_rules(route), on_connect)
    await made.listen(port)
    return made


def port_of(proxy: Proxy) -> int:
    return proxy.port


async def _requested_host(reader: asyncio.StreamReader) -> str | None:
    """Return the host of a CONNECT request in lower case; None for any other request."""
    head = await reader.readuntil(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].decode("latin1").split()
    if len(words) < 2 or words[0] != "CONNECT":
        return None
    return words[1].rpartition(":")[0].lower()


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Copy both ways until either side closes. TLS closes inside the tunnel: a half-open tunnel has no use."""
    copies = [asyncio.create_task(_copy(reader, far_writer)), asyncio.create_task(_copy(far_reader, writer))]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(CHUNK):
        sink.write(data)
        await sink.drain()
