"""The data plane alone, for its own tests: proxy, gate and Azurite with invented principals."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from azure_emulator import proxy
from azure_emulator.blob_storage.azurite import SharedAzurite
from azure_emulator.blob_storage.blob_account import StorageAccount
from azure_emulator.blob_storage.blob_gate import BlobGate
from azure_emulator.faults import Faults
from azure_emulator.identity import certificates
from azure_emulator.identity.identities import SUBSCRIPTION
from azure_emulator.identity.tokens import Tokens
from azure_emulator.request_log import RequestLog
from azure_emulator.resource_manager.authorization import Authorization

KEYLESS, KEYED = "stkeyless", "stkeyed"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-test"
CONTRIBUTOR = "ba92f5b4-2d11-453d-a403-e96b0029c9fe"  # Storage Blob Data Contributor
READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"  # Storage Blob Data Reader


class DataPlane:
    """What a client needs to reach it is in `environment`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tokens = Tokens(folder)
        self.authorization = Authorization()
        self.faults = Faults()
        self.log = RequestLog()
        self.certificates = certificates.make(folder / "tls")
        self.azurite = SharedAzurite()
        self.gate = BlobGate(
            folder,
            self.azurite,
            self.account,
            self.authorization.allows,
            self.tokens.read,
            self.log.add,
            self.faults,
        )
        self.store = self.gate.store
        self.port = 0
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    @property
    def environment(self) -> dict[str, str]:
        address, authority = f"http://127.0.0.1:{self.port}", str(self.certificates.authority)
        return {
            "HTTPS_PROXY": address,
            "NO_PROXY": "127.0.0.1,localhost",
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
        }

    def account(self, name: str) -> StorageAccount | None:
        if name not in (KEYLESS, KEYED):
            return None
        return StorageAccount(self.scope(name), shared_keys=name == KEYED)

    def scope(self, name: str) -> str:
        return f"{GROUP}/providers/Microsoft.Storage/storageAccounts/{name}"

    def give(self, oid: str, role: str, account: str = KEYLESS) -> str:
        assigned = f"{self.scope(account)}/roleAssignments/{oid}-{role}"
        self.authorization.give(assigned, oid, role, self.scope(account))
        return assigned

    def take(self, assigned: str) -> None:
        self.authorization.take(assigned)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.azurite.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        config = uvicorn.Config(
            self.gate,
            host="127.0.0.1",
            port=0,
            ssl_certfile=self.certificates.chain,
            ssl_keyfile=self.certificates.key,
            log_level="warning",
            lifespan="off",
        )
        self._server = uvicorn.Server(config)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        gate_port = self._server.servers[0].sockets[0].getsockname()[1]

        def route(host: str) -> int | None:
            known = host.endswith(".blob.core.windows.net") and self.account(host.partition(".")[0])
            return gate_port if known else None

        tunnels = await proxy.serve(route)
        self.port = proxy.port_of(tunnels)
        self._ready.set()
        await self._stop.wait()
        # First the tunnels: the server waits for the connections that come through them.
        tunnels.close()
        await asyncio.sleep(0.1)
        self._server.should_exit = True
        await serving
        await self.gate.close()


@contextmanager
def running(folder: Path) -> Iterator[DataPlane]:
    """A data plane whose addresses are in this process's environment, so that clients made inside find it."""
    plane = DataPlane(folder)
    before = dict(os.environ)
    os.environ.update(plane.environment)
    try:
        yield plane
    finally:
        os.environ.clear()
        os.environ.update(before)
        plane.close()
