"""What every request must have, and every answer gets: host, origin, form of the body, and headers."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chat_code.errors import Refused
from chat_code.logs import event

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
SAFE = frozenset({"GET", "HEAD"})
OURS = "x-phi-chat"
"""A header that no form of another site can send."""
PROGRAMS = ("/v1/", "/agent")


class Guard:
    """Refuses requests of other sites, adds the headers, and logs a line for each request but those of health.

    `hosts` are names with a port, or without for any port; none: any name.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                headers["server-timing"] = f"app;dur={(time.monotonic() - started) * 1000:.1f}"
            await send(message)

        try:
            self._require_ours(scope)
            await self._app(scope, receive, send_with_headers)
        except Refused as e:
            await _refusal(e)(scope, receive, send_with_headers)
        except Exception:
            event("crash", level=logging.ERROR, exc_info=True, path=scope["path"])
            if not status:
                wrong = Refused("failed", "the chat's server made an error; try again, or report the time")
                await _refusal(wrong)(scope, receive, send_with_headers)
        finally:
            if scope["path"] not in ("/livez", "/readyz"):
                milliseconds = round((time.monotonic() - started) * 1000)
                route = getattr(scope.get("route"), "path", "")
                event("request", method=scope["method"], route=route, status=status, milliseconds=milliseconds)

    def _require_ours(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        name = host.rpartition(":")[0] or host
        if self._hosts and not {host, name} & self._hosts:
            raise Refused("forbidden", f"this server is not {host[:100]!r}")
        if scope["method"] in SAFE or scope["path"].startswith(PROGRAMS):
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin.lower().partition("://")[2] != host:
            raise Refused("forbidden", "this request comes from another site")
        if site not in (None, "same-origin", "none"):
            raise Refused("forbidden", "this request comes from another site")
        if not headers.get(OURS):
            raise Refused("forbidden", f"send the header {OURS}: 1")


def _refusal(e: Refused) -> JSONResponse:
    headers = {"retry-after": str(e.retry_after)} if e.retry_after else {}
    return JSONResponse(e.body(), e.status, headers=headers)
