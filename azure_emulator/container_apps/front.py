"""The front of `*.azurecontainerapps.io`: ingress and built-in sign-in.

With sign-in on, what a caller sends as the principal is removed, and what the caller's token says is put there. With it
off, everything passes, forged headers too: https://learn.microsoft.com/azure/container-apps/authentication
People sign in with a bearer token here; there is no page of Entra, and no session cookie.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import httpx

from azure_emulator.identity.identities import TENANT
from azure_emulator.identity.tokens import Claims, InvalidToken
from azure_emulator.messages import read_body
from azure_emulator.resource_manager.resources import Resource
from azure_emulator.state import EmulatorState

_CLAIMS = "http://schemas.microsoft.com/identity/claims/"
_OURS = ("x-ms-client-principal", "x-ms-token-aad")
_NOT_FORWARDED = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length", "x-forwarded-host"}
)
Headers = list[tuple[str, str]]


class Front:
    """An ASGI application for all container apps."""

    def __init__(self, emulator: EmulatorState) -> None:
        self._emulator = emulator
        self._client: httpx.AsyncClient | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sent: Headers = [(k.decode("latin1").lower(), v.decode("latin1")) for k, v in scope["headers"]]
        host = dict(sent).get("host", "").partition(":")[0].lower()
        path, identity, status = scope["raw_path"].decode("latin1").partition("?")[0], "", 500
        body = await read_body(receive)
        try:
            found = self._emulator.container_apps.at(host)
            if found is None:
                status = await _answer(send, 404, "Error 404 - This Container App is stopped or does not exist.")
                return
            app, revision = found
            headers, refusal, identity = self._signed_in(app, scope["method"], path, sent)
            if refusal:
                status = await _answer(send, *refusal)
                return
            address = self._emulator.container_apps.address(revision)
            if address is None:
                status = await _answer(send, 503, "no healthy upstream")
                return
            query = scope["query_string"].decode("latin1")
            url = f"{address}{path}{'?' if query else ''}{query}"
            status = await self._pass(scope["method"], url, headers, body, send)
        finally:
            self._emulator.log.add("app", scope["method"], f"/{host}{path}", identity, status, "", "")

    def _signed_in(
        self, app: Resource, method: str, path: str, sent: Headers
    ) -> tuple[Headers, tuple[int, str, dict[str, str]] | None, str]:
        """Return the headers that reach the app, or the refusal, and the caller's object id."""
        found = self._emulator.resources.find(f"{app.id}/authConfigs/current")
        settings = found.properties if found else {}
        if not (settings.get("platform") or {}).get("enabled"):
            return sent, None, ""
        kept = [(name, value) for name, value in sent if not name.startswith(_OURS)]
        entra = (settings.get("identityProviders") or {}).get("azureActiveDirectory") or {}
        client = (entra.get("registration") or {}).get("clientId", "")
        audiences = [client, *((entra.get("validation") or {}).get("allowedAudiences") or [])]
        scheme, _, token = dict(kept).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            for audience in audiences:
                try:
                    claims = self._emulator.tokens.read(token, audience)
                except InvalidToken:
                    continue
                return [*kept, *_principal(claims, self._name(claims.oid))], None, claims.oid
            return [], (401, "The token is not for this app.", {"www-authenticate": "Bearer"}), ""
        action = (settings.get("globalValidation") or {}).get("unauthenticatedClientAction")
        if action == "AllowAnonymous":
            return kept, None, ""
        if action != "RedirectToLoginPage" or method != "GET" or path.startswith(("/api/", "/v1/")):
            return [], (401, "You do not have permission to view this directory or page.", {}), ""
        asked = {"response_type": "code id_token", "client_id": client, "redirect_uri": "/.auth/login/aad/callback"}
        login = f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize?{urlencode(asked)}"
        return [], (302, "", {"location": login}), ""

    def _name(self, oid: str) -> str:
        principal = self._emulator.directory.find(oid)
        return principal.name if principal else oid

    async def _pass(self, method: str, url: str, headers: Headers, body: bytes, send: Any) -> int:
        if self._client is None:
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx.AsyncClient(trust_env=False, timeout=None, limits=limits)
        passed = [(name, value) for name, value in headers if name not in _NOT_FORWARDED]
        try:
            async with self._client.stream(method, url, headers=passed, content=body) as reply:
                pairs = [
                    (k.lower().encode("latin1"), v.encode("latin1"))
                    for k, v in reply.headers.multi_items()
                    if k.lower() not in _NOT_FORWARDED
                ]
                await send({"type": "http.response.start", "status": reply.status_code, "headers": pairs})
                async for piece in reply.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return reply.status_code
        except httpx.ConnectError:
            return await _answer(send, 503, "upstream connect error")

    async def close(self) -> None:
        if self._client:
            await self._client.aclose()


def _principal(claims: Claims, name: str) -> Headers:
    """Return the headers that name a caller, as the platform's sidecar writes them."""
    known = {f"{_CLAIMS}objectidentifier": claims.oid, f"{_CLAIMS}tenantid": TENANT, "name": name}
    principal = {
        "auth_typ": "aad",
        "claims": [{"typ": kind, "val": value} for kind, value in known.items()],
        "name_typ": "name",
        "role_typ": "roles",
    }
    encoded = base64.b64encode(json.dumps(principal).encode()).decode()
    return [
        ("x-ms-client-principal", encoded),
        ("x-ms-client-principal-id", claims.oid),
        ("x-ms-client-principal-name", name),
        ("x-ms-client-principal-idp", "aad"),
    ]


async def _answer(send: Any, status: int, text: str, headers: dict[str, str] | None = None) -> int:
    body = text.encode()
    pairs = {"content-type": "text/plain", "content-length": str(len(body)), **(headers or {})}
    encoded = [(k.encode("latin1"), v.encode("latin1")) for k, v in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
    return status
