"""The server process of the local Azure: proxy, HTTPS server and control server, until SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from azure_emulator import proxy
from azure_emulator.app import App
from azure_emulator.blob_storage.azurite import SharedAzurite
from azure_emulator.container_apps import image_builds
from azure_emulator.control_server import control_app
from azure_emulator.cosmos_db import metadata as cosmos
from azure_emulator.emulator import Emulator
from azure_emulator.scoring.live_endpoints import HOST as SCORING_HOST

_HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "login.microsoft.com",
    "ml.azure.com",
    "*.vault.azure.net",
    "*.api.azureml.ms",
)


@asynccontextmanager
async def serving(folder: Path, scale: float, azurite: SharedAzurite | None = None) -> AsyncIterator[None]:
    """Serve a local Azure during an `async with` block, with its own Azurite or with a shared one.

    The files `control`, `proxy` and `environment.json` in the folder hold its addresses. `ready` is written last.
    """
    emulator = Emulator(folder, scale, azurite)
    secure = _server(App(emulator), str(emulator.certificates.chain), str(emulator.certificates.key))
    control = _server(control_app(emulator))
    tasks = [asyncio.create_task(server.serve()) for server in (secure, control)]
    while not (secure.started and control.started):
        if any(task.done() for task in tasks):
            raise RuntimeError("a server of the local Azure did not start")
        await asyncio.sleep(0.02)
    secure_port, control_port = (_port(server) for server in (secure, control))

    def route(host: str) -> int | None:
        if host == image_builds.UPLOADS or emulator.container_apps.is_known(host):
            return secure_port
        if host.endswith(".blob.core.windows.net"):
            # Without an account of this name, the host does not resolve.
            return secure_port if emulator.storage_account(host.partition(".")[0]) else None
        if host.endswith(cosmos.HOST):
            return secure_port if cosmos.account_at(emulator, host) else None
        if host.endswith(SCORING_HOST):
            return secure_port if emulator.scoring.at(host) else None
        return proxy.by_rules([(pattern, secure_port) for pattern in _HOSTS])(host)

    tunnel = await proxy.serve(route)
    address = f"http://127.0.0.1:{proxy.port_of(tunnel)}"
    emulator.start_runner(address)
    _write(folder / "proxy", address)
    _write(folder / "control", f"http://127.0.0.1:{control_port}")
    _write(folder / "environment.json", json.dumps(emulator.client_environment(address)))
    _write(folder / "ready", str(os.getpid()))
    try:
        yield
    finally:
        tunnel.close()
        for server in (secure, control):
            server.should_exit = server.force_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        await emulator.blobs.close()
        await emulator.gateway.close()
        await emulator.front.close()
        await asyncio.to_thread(emulator.close)


async def serve(folder: Path, scale: float) -> None:
    """Serve until SIGTERM or SIGINT."""
    async with serving(folder, scale):
        stop = asyncio.Event()
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        await stop.wait()


def _is_not_an_aborted_connection(record: logging.LogRecord) -> bool:
    # Uvicorn logs this when an injected fault closes the connection; it is not a server error.
    return "without starting response" not in record.getMessage()


def _server(app: object, chain: str | None = None, key: str | None = None) -> uvicorn.Server:
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host="127.0.0.1",
        port=0,
        ssl_certfile=chain,
        ssl_keyfile=key,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=60,
    )
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    return server


def _port(server: uvicorn.Server) -> int:
    return server.servers[0].sockets[0].getsockname()[1]


def _write(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def prepare() -> None:
    """Set up logging and the environment of a server process."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    # Clients in this process reach Azurite on loopback without a proxy.
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        os.environ.pop(name, None)
    logging.getLogger("uvicorn.error").addFilter(_is_not_an_aborted_connection)


def main() -> None:
    prepare()
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))


if __name__ == "__main__":
    main()
