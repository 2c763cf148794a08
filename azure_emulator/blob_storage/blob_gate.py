"""The gate of Blob storage: authenticates and authorizes requests as Azure does, then forwards them to Azurite.

Azurite's own `--oauth basic` checks neither signature nor permission of a token, so all clients go through this gate.
"""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from azure_emulator.blob_storage import sas
from azure_emulator.blob_storage.azurite import Azurite, SharedAzurite
from azure_emulator.blob_storage.blob_access import CHALLENGE, Access, Caller, Refused
from azure_emulator.blob_storage.blob_account import AccountKeys, FindAccount
from azure_emulator.blob_storage.blob_delegation import delegation_key_answer
from azure_emulator.blob_storage.blob_operations import NotEmulated, operation_of, target_of
from azure_emulator.blob_storage.blob_proxy import AzuriteProxy
from azure_emulator.blob_storage.blob_store import BlobStore
from azure_emulator.faults import Faults, Kind
from azure_emulator.identity.identities import TENANT
from azure_emulator.jobs.contract import Allows
from azure_emulator.messages import read_body

HOST = ".blob.core.windows.net"
PLATFORM = "00000000-0000-0000-0000-00000000aa01"  # Azure's own services, which need no role here
Scope = Any  # ASGI's scope, receive and send


class BlobGate:
    """An ASGI app for `<account>.blob.core.windows.net`, and the platform's own access to the blobs.

    `read_token(token, audience)` returns claims with an `oid`, or raises ValueError. `on_request` is called for
    each request with the arguments of `RequestLog.add`; `faults` of the service "blob" apply.
    """

    def __init__(
        self,
        folder: Path,
        azurite: Azurite | SharedAzurite,
        account: FindAccount,
        allows: Allows,
        read_token: Callable[[str, str], Any],
        on_request: Callable[..., None] | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.keys = AccountKeys(folder)
        self.store = BlobStore(azurite)
        self._account = account
        self._access = Access(self.keys, allows, read_token, PLATFORM)
        self._azurite_proxy = AzuriteProxy(azurite)
        self._on_request = on_request
        self._faults = faults

    def ensure_container(self, account: str, name: str) -> None:
        self.store.ensure_container(account, name)

    def key_of(self, account: str, number: int = 1) -> str:
        """`key1` or `key2` of the account."""
        return self.keys.of(account)[number - 1]

    def regenerate_key(self, account: str, number: int = 1, key: str | None = None) -> str:
        return self.keys.put(account, number, key)

    def container_sas(
        self, account: str, container: str, permissions: str, hours: float = 8, oid: str = PLATFORM
    ) -> str:
        """Return a signature (SAS) for the container as a query string.

        It is signed with the account's key or, if keys are disabled, with a user delegation key of `oid`, whose roles
        are checked at each use.
        """
        found = self._account(account)
        if found and found.shared_keys:
            return sas.of_container(account, container, permissions, hours, self.key_of(account))
        now = datetime.datetime.now(datetime.UTC)
        start, end = sas.moment(now - datetime.timedelta(minutes=5)), sas.moment(now + datetime.timedelta(hours=hours))
        fields = dict(zip(sas.KEY_FIELDS, (oid, TENANT, start, end, "b", sas.OWN_VERSION), strict=True))
        key = sas.delegation_key(self.keys.secret, account, fields)
        return sas.of_container(account, container, permissions, hours, key, fields)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {name.decode("latin1").lower(): value.decode("latin1") for name, value in scope["headers"]}
        account = headers.get("host", "").partition(":")[0].lower().removesuffix(HOST)
        raw_path = scope.get("raw_path", scope["path"].encode()).decode("latin1").partition("?")[0]
        method = scope["method"]
        status, identity, query, fault = 500, "anonymous", "", None
        try:
            caller, own = self._authorize(method, account, raw_path, scope["query_string"], headers)
            identity, query = caller.name, caller.query
            fault = self._faults.draw("blob", method, f"{account}{raw_path}?{query}") if self._faults else None
            if fault:
                await self._play(fault, identity)
            if fault == "timeout":
                status = abort_connection(send)
            elif own:
                status = await _answer(send, 200, own(await read_body(receive)), {"content-type": "application/xml"})
            elif fault == "dropped":
                status = await self._azurite_proxy.forward(scope, account, query, headers, receive, None)
                abort_connection(send)
            else:
                status = await self._azurite_proxy.forward(scope, account, query, headers, receive, send)
        except Refused as refused:
            identity = refused.identity or identity
            status = refused.status
            await _drain(receive)
            await _answer(send, status, b"" if method == "HEAD" else refused.body(), refused.headers())
        finally:
            if self._on_request:
                self._on_request("blob", method, f"{account}{raw_path}", identity, status, query, fault or "")

    async def _play(self, fault: Kind, identity: str) -> None:
        """Apply the part of a fault that precedes the work. Raises Refused."""
        if fault in ("429", "503"):  # Blob storage throttles with 503 only
            raise Refused(503, "ServerBusy", "The server is busy.", {"retry-after": "1"}, identity)
        if fault == "expired":
            raise Refused(
                401, "InvalidAuthenticationInfo", "Lifetime validation failed. The token is expired.", CHALLENGE
            )
        if fault in ("timeout", "slow") and self._faults:
            await asyncio.sleep(self._faults.hold_seconds)

    def _authorize(
        self, method: str, account: str, raw_path: str, query_string: bytes, headers: dict[str, str]
    ) -> tuple[Caller, Callable[[bytes], bytes] | None]:
        """Return the caller, and a function for the response if the gate creates it. Raises Refused."""
        found = self._account(account)
        if not found:
            raise Refused(404, "ResourceNotFound", f"There is no storage account {account}.")
        query = dict(parse_qsl(query_string.decode("latin1"), keep_blank_values=True))
        target = target_of(raw_path)
        try:
            operation = operation_of(method, target, query, headers)
        except NotEmulated as e:
            raise Refused(501, "NotImplemented", str(e)) from e
        caller = self._access.authorize(found, account, method, raw_path, target, operation, query, headers)
        if operation.name == "GetUserDelegationKey":
            return caller, lambda body: delegation_key_answer(self.keys.secret, account, caller, body)
        return caller, None

    async def close(self) -> None:
        await self._azurite_proxy.close()
        self.store.close()


def abort_connection(send: Any) -> int:
    """Close the client's connection without a response.

    ASGI has no message for that, so this uses the uvicorn object behind `send`.
    """
    send.__self__.transport.abort()
    return 0


async def _answer(send: Any, status: int, body: bytes, headers: dict[str, str]) -> int:
    headers = {"x-ms-request-id": str(uuid.uuid4()), "x-ms-version": "2021-12-02", **headers}
    headers["content-length"] = str(len(body))
    pairs = [(name.encode(), value.encode("latin1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
    return status


async def _drain(receive: Any) -> None:
    """Read the rest of the request, because a client that is refused while it sends sees a reset, not the reason."""
    async with asyncio.timeout(30):
        while True:
            message = await receive()
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                return
