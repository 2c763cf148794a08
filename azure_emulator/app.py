"""The ASGI application: dispatches by host, checks tokens, injects faults and logs requests."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.concurrency import run_in_threadpool

from azure_emulator import key_vault, run_history
from azure_emulator.blob_storage.blob_gate import HOST as BLOB_HOST
from azure_emulator.blob_storage.blob_gate import abort_connection
from azure_emulator.container_apps import image_builds
from azure_emulator.container_apps.resources import HOST as APP_HOST
from azure_emulator.cosmos_db import gateway as cosmos_gateway
from azure_emulator.cosmos_db import metadata
from azure_emulator.emulator import Emulator
from azure_emulator.faults import Kind
from azure_emulator.identity import entra
from azure_emulator.identity.identities import TENANT
from azure_emulator.identity.tokens import InvalidToken
from azure_emulator.messages import RETRY_AFTER, Answer, AzureError, Call, read_body
from azure_emulator.resource_manager import arm
from azure_emulator.scoring.live_endpoints import HOST as SCORING_HOST

_LOG = logging.getLogger(__name__)
_AUDIENCES = {
    "arm": ("https://management.azure.com",),
    "history": ("https://management.azure.com", "https://ml.azure.com"),
    "vault": ("https://vault.azure.net",),
}


class App:
    """Serves every Azure host. Storage and scoring hosts are passed on to the blob gate and the gateway."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = {k.decode("latin1").lower(): v.decode("latin1") for k, v in scope["headers"]}
        host = headers.get("host", "").partition(":")[0].lower()
        if host == image_builds.UPLOADS:
            image_builds.upload(self._emulator, scope["raw_path"].decode().partition("?")[0], await read_body(receive))
            await _send(send, Answer(status=201), scope["method"])
            return
        if host.endswith(APP_HOST):
            await self._emulator.front(scope, receive, send)
            return
        if host.endswith(BLOB_HOST):
            await self._emulator.blobs(scope, receive, send)
            return
        if host.endswith(SCORING_HOST):
            await self._emulator.gateway(scope, receive, send)
            return
        raw = await read_body(receive)
        query = dict(parse_qsl(scope["query_string"].decode("latin1"), keep_blank_values=True))
        path = unquote(scope["raw_path"].decode("latin1").partition("?")[0])
        call = Call(scope["method"], host, path, query, headers, _parsed(raw, headers), size=len(raw))
        await self._serve(call, scope["query_string"].decode("latin1"), send)

    async def _serve(self, call: Call, query: str, send: Any) -> None:
        family = _family(call.host)
        service = _service(family, call.path)
        fault = self._emulator.faults.draw(service, call.method, f"{call.path}?{query}")
        status, identity = 500, self._identity(family, call)
        try:
            if fault in ("timeout", "slow"):
                await asyncio.sleep(self._emulator.faults.hold_seconds)
            if fault == "timeout":
                status = abort_connection(send)
                return
            answer = await run_in_threadpool(self._answer, family, call, fault)
            status = answer.status
            if fault == "dropped":
                abort_connection(send)
                return
            await _send(send, answer, call.method)
        finally:
            self._emulator.log.add(service, call.method, call.path, identity, status, query, fault or "")

    def _identity(self, family: str, call: Call) -> str:
        """Return the caller's object id for the log, or "" if the token would be refused."""
        try:
            if family == "cosmos":
                account = metadata.account_at(self._emulator, call.host)
                return cosmos_gateway.caller_of(self._emulator, account, call) if account else ""
            return self._caller(family, call, expired=False) if family in _AUDIENCES else ""
        except AzureError:
            return ""

    def _answer(self, family: str, call: Call, fault: Kind | None) -> Answer:
        try:
            if family == "none":
                raise AzureError(404, "NoSuchHost", f"The local Azure has no host {call.host}.")
            if family == "cosmos":
                return cosmos_gateway.handle(self._emulator, call, fault)
            open_answer = self._without_token(family, call)
            if open_answer and not fault:
                return open_answer
            if fault == "429":
                raise AzureError(429, "TooManyRequests", "The request was throttled.", headers=RETRY_AFTER)
            if fault == "503":
                raise AzureError(503, "ServiceUnavailable", "The service is unavailable now.", headers=RETRY_AFTER)
            if open_answer:
                return open_answer
            oid = self._caller(family, call, expired=fault == "expired")
            known = replace(call, oid=oid)
            handlers = {"arm": arm.handle, "history": run_history.handle, "vault": key_vault.handle}
            return handlers[family](self._emulator, known)
        except AzureError as e:
            return e.answer()
        except Exception as e:
            _LOG.exception("%s %s", call.method, call.path)
            return AzureError(500, "InternalServerError", f"The local Azure failed: {e!r}").answer()

    def _without_token(self, family: str, call: Call) -> Answer | None:
        if family == "entra":
            return entra.handle(self._emulator, call)
        if family == "arm":
            return arm.public(self._emulator, call)
        return run_history.public(call) if family == "history" else None

    def _caller(self, family: str, call: Call, expired: bool) -> str:
        """Return the object id in the bearer token. Raises AzureError (401) with a challenge."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _unauthorized(
                family, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."
            )
        if expired:
            raise _unauthorized(
                family, "ExpiredAuthenticationToken", "The access token expiry UTC time is earlier than now."
            )
        reasons = []
        for audience in _AUDIENCES[family]:
            try:
                return self._emulator.tokens.read(token, audience).oid
            except InvalidToken as e:
                reasons.append(str(e))
        code = "InvalidAuthenticationTokenAudience" if "udience" in reasons[0] else "InvalidAuthenticationToken"
        if "expired" in reasons[0]:
            code = "ExpiredAuthenticationToken"
        raise _unauthorized(family, code, f"The access token is not accepted: {reasons[0]}.")


def _family(host: str) -> str:
    if host == "management.azure.com":
        return "arm"
    if host.startswith("login.") or host == "sts.windows.net":
        return "entra"
    if host.endswith(".api.azureml.ms") or host == "ml.azure.com":
        return "history"
    if host.endswith(metadata.HOST):
        return "cosmos"
    return "vault" if host.endswith(key_vault.HOST) else "none"


def _service(family: str, path: str) -> str:
    """Return the service's name for the request log; ARM calls are named by resource provider."""
    low = path.lower()
    if family != "arm":
        return family
    if "/microsoft.quota/" in low or low.endswith("/usages"):
        return "quota"
    return "ml" if "/microsoft.machinelearningservices/" in low else "arm"


def _unauthorized(family: str, code: str, message: str) -> AzureError:
    login = f"https://login.microsoftonline.com/{TENANT}"
    challenge = f'Bearer authorization_uri="{login}", error="invalid_token", error_description="{message}"'
    if family == "vault":
        challenge = f'Bearer authorization="{login}", resource="https://vault.azure.net"'
    return AzureError(401, code, message, headers={"WWW-Authenticate": challenge})


def _parsed(raw: bytes, headers: dict[str, str]) -> Any:
    if not raw:
        return None
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        return dict(parse_qsl(raw.decode()))
    try:
        return json.loads(raw)
    except ValueError:
        return None


async def _send(send: Any, answer: Answer, method: str) -> None:
    payload = b"" if answer.body is None or method == "HEAD" else json.dumps(answer.body).encode()
    headers = {
        "content-type": "application/json; charset=utf-8",
        "content-length": str(len(payload)),
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-correlation-request-id": str(uuid.uuid4()),
        **answer.headers,
    }
    pairs = [(k.lower().encode("latin1"), v.encode("latin1")) for k, v in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
    await send({"type": "http.response.body", "body": payload})
