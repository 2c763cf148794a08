"""The scoring gateway of `{endpoint}.{region}.inference.ml.azure.com`.

Status codes: https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints#http-status-codes
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import httpx

from azure_emulator.blob_storage.blob_gate import abort_connection
from azure_emulator.messages import read_body
from azure_emulator.scoring.access import Refused, caller_of
from azure_emulator.scoring.garbled_answers import garbled
from azure_emulator.scoring.live_endpoints import LiveDeployment, LiveEndpoint
from azure_emulator.state import EmulatorState

_PIN = "azureml-model-deployment"
# Headers of one connection, and credentials, which the platform checks and the container never sees.
_NOT_FORWARDED = frozenset(
    {"host", "authorization", "connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", _PIN}
)
_NOT_RETURNED = (_NOT_FORWARDED | {"date", "server"}) - {"content-length"}


class Gateway:
    """An ASGI application for all live endpoints, with one HTTP client and no threads."""

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {k.decode("latin1").lower(): v.decode("latin1") for k, v in scope["headers"]}
        host = headers.get("host", "").partition(":")[0].lower()
        body = await read_body(receive)
        path = unquote(scope["raw_path"].decode("latin1").partition("?")[0])
        fault = self._emulator.faults.draw("scoring", scope["method"], f"{host}{path}")
        endpoint, name, identity, status = self._emulator.scoring.at(host), "", "", 500
        answer = _Sender(send)
        try:
            if fault in ("timeout", "slow"):
                await asyncio.sleep(self._emulator.faults.hold_seconds)
            if fault in ("timeout", "dropped"):
                status = abort_connection(send)
                return
            if fault in ("429", "503"):
                raise Refused(int(fault), "The request was throttled." if fault == "429" else "Unavailable.")
            if endpoint is None or not endpoint.ready:
                raise Refused(404, f"There is no endpoint at {host}.")
            identity = caller_of(self._emulator, endpoint, headers.get("authorization", ""), fault == "expired")
            pinned = headers.get(_PIN)
            deployment = _deployment(endpoint, pinned)
            name = deployment.name
            work = self._pass(endpoint, deployment, scope, headers, body, answer, pinned is not None)
            status = await _unless_disconnected(work, receive)
        except Refused as e:
            status = e.status
            await answer.whole(e.status, e.headers, json.dumps({"error": {"message": e.message}}).encode())
        finally:
            if endpoint:
                endpoint.counts[(name, status)] += 1
            self._emulator.log.add("scoring", scope["method"], f"/{host}{path}", identity, status, "", fault or "")

    async def _pass(
        self,
        endpoint: LiveEndpoint,
        deployment: LiveDeployment,
        scope: Any,
        headers: dict[str, str],
        body: bytes,
        answer: _Sender,
        pinned: bool,
    ) -> int:
        marks = {_PIN: deployment.name, "x-request-id": str(uuid.uuid4())}
        if deployment.in_flight >= deployment.max_concurrent_requests:
            raise Refused(429, "Too many pending requests.", marks)
        deployment.in_flight += 1
        try:
            await self._crash_when_due(deployment, pinned)
            async with asyncio.timeout(deployment.timeout):
                return await self._ask(deployment, scope, headers, body, answer, marks)
        except TimeoutError:
            if answer.begun:  # the status is already sent, so the response just ends
                return 408
            raise Refused(408, f"upstream request timeout after {deployment.timeout:g} s", marks) from None
        except (httpx.TransportError, _NoContainer) as e:
            if answer.begun:
                raise
            raise Refused(424, "The container does not answer.", {**marks, **_model_error(502)}) from e
        finally:
            deployment.in_flight -= 1

    async def _crash_when_due(self, deployment: LiveDeployment, pinned: bool) -> None:
        fault = deployment.fault
        if fault is None or fault.kind != "crash" or (pinned and fault.routed_only):
            return
        deployment.routed += 1
        if deployment.container and fault.after_requests is not None and deployment.routed > fault.after_requests:
            await asyncio.to_thread(deployment.container.crash)

    async def _ask(
        self,
        deployment: LiveDeployment,
        scope: Any,
        headers: dict[str, str],
        body: bytes,
        answer: _Sender,
        marks: dict[str, str],
    ) -> int:
        address = deployment.address
        if address is None:
            raise _NoContainer
        query = scope["query_string"].decode("latin1")
        url = f"{address}{scope['raw_path'].decode('latin1').partition('?')[0]}{'?' if query else ''}{query}"
        # "Azure Machine Learning overrides this header to ensure it's a valid GUID": the same page, request tracing.
        passed = {k: v for k, v in headers.items() if k not in _NOT_FORWARDED} | {"x-request-id": marks["x-request-id"]}
        async with self._http().stream(scope["method"], url, headers=passed, content=body) as reply:
            if reply.status_code != 200:
                content = await reply.aread()
                kind = {"content-type": reply.headers.get("content-type", "text/plain")}
                await answer.whole(424, {**marks, **_model_error(reply.status_code), **kind}, content)
                return 424
            kept = {k: v for k, v in reply.headers.items() if k.lower() not in _NOT_RETURNED}
            if deployment.fault and deployment.fault.kind == "wrong_answer":
                await answer.whole(200, {**kept, **marks}, garbled(await reply.aread(), deployment.fault.text))
                return 200
            await answer.stream(200, {**kept, **marks}, reply.aiter_raw())
            return 200

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # The container could close a kept-alive connection at the moment of its reuse.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx.AsyncClient(trust_env=False, timeout=None, limits=limits)
        return self._client

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()


class _NoContainer(Exception):
    """The deployment has no container."""


class _Sender:
    """Sends one response; `begun` is True once the status is sent."""

    def __init__(self, send: Any) -> None:
        self._send = send
        self.begun = False

    async def whole(self, status: int, headers: dict[str, str], body: bytes) -> None:
        headers = {"content-type": "application/json", **headers, "content-length": str(len(body))}
        await self._start(status, headers)
        await self._send({"type": "http.response.body", "body": body})

    async def stream(self, status: int, headers: dict[str, str], pieces: AsyncIterator[bytes]) -> None:
        await self._start(status, headers)
        async for piece in pieces:
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self.begun = True
        pairs = [(k.lower().encode("latin1"), v.encode("latin1")) for k, v in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})


def _deployment(endpoint: LiveEndpoint, pinned: str | None) -> LiveDeployment:
    name = pinned if pinned is not None else endpoint.choose()
    if name is None:
        raise Refused(404, "No valid deployment with positive weight was found for the endpoint.")
    found = endpoint.deployments.get(name)
    if found is None or (found.container is None and pinned is not None):
        raise Refused(404, f"The deployment '{name}' does not exist or does not serve.")
    return found


def _model_error(status: int) -> dict[str, str]:
    return {"ms-azureml-model-error-statuscode": str(status), "ms-azureml-model-error-reason": "model_error"}


async def _unless_disconnected(work: Any, receive: Any) -> int:
    """Return the work's result, or cancel it if the client disconnects, so that the container can stop too."""
    task, disconnected = asyncio.ensure_future(work), asyncio.ensure_future(_until_disconnected(receive))
    try:
        await asyncio.wait({task, disconnected}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            return 0
        return task.result()
    finally:
        disconnected.cancel()
        task.cancel()


async def _until_disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
