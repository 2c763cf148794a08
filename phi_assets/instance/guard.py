"""The guard of Dagster's UI: an ASGI middleware that refuses what another web page, or another name, asks of it.

Dagster's open-source webserver has no login, takes requests for any Host and from any Origin, and executes mutations
sent by GET. A page in the same browser could launch jobs or wipe assets. Behind the guard only the UI's own pages and
programs on this machine can.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
FREE = "/server_info"  # versions only: for health probes, whatever name they use
CHANGES = ("/graphql", "/report_asset_")  # paths that change state
METHODS = frozenset({"GET", "HEAD", "POST"})
POLICY_VIOLATION = 1008  # WebSocket close code
JSON_TYPES = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
# Added to Dagster's own policy, which has no rule for images, frames and forms: a browser applies both.
HEADERS = [
    (
        b"content-security-policy",
        b"img-src 'self' data: blob:; media-src 'none'; frame-ancestors 'none'; form-action 'self'",
    ),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True)
class Refusal:
    """The HTTP status and the sentence of a refused request."""

    status: int
    reason: str


@dataclass(frozen=True)
class Request:
    """The parts of a request that decide: header names in lower case, each with all values that were sent."""

    kind: str
    method: str
    path: str
    headers: dict[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        headers: dict[str, list[str]] = {}
        for name, value in scope.get("headers", ()):
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
        return cls(scope["type"], scope.get("method", "GET").upper(), scope.get("path", ""), headers)

    def header(self, name: str) -> str | None:
        """Return the header's value; None where it is absent or was sent more than once."""
        values = self.headers.get(name, [])
        return values[0] if len(values) == 1 else None

    @property
    def changes_state(self) -> bool:
        return ("/" + self.path.lstrip("/")).lower().startswith(CHANGES)


class Guard:
    """Dagster's application, for requests that name one of `hosts` or a loopback name, and come from its own pages."""

    def __init__(self, application: Application, hosts: Collection[str] = ()) -> None:
        self._application = application
        self._configured = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self._application(scope, receive, send)
        request = Request.of(scope)
        refusal = self.refusal(request)
        if refusal:
            return await _refuse(scope, receive, send, refusal)
        if request.changes_state:
            # Dagster takes a query from the address where the body has none.
            scope = {**scope, "query_string": b""} if request.path.lower().startswith("/graphql") else scope
        await self._application(scope, receive, _with_headers(send) if scope["type"] == "http" else send)

    def refusal(self, request: Request) -> Refusal | None:
        """Return why the request is refused; None where it may pass."""
        if request.kind == "http" and request.path == FREE and request.method in ("GET", "HEAD"):
            return None
        return self._of_host(request) or self._of_page(request) or _of_method(request)

    def _of_host(self, request: Request) -> Refusal | None:
        host = request.header("host")
        name = host_name(host) if host else None
        if name is None:
            return Refusal(400, "a request needs one valid Host header")
        if name not in LOOPBACK and name not in self._configured:
            return Refusal(403, f"host {name!r} is not served here; PHI_UI_HOSTS lists the names that are")
        return None

    def _of_page(self, request: Request) -> Refusal | None:
        """Refuse what another page asks, except that it may link to a page of the UI."""
        origins = request.headers.get("origin", [])
        if origins and not (len(origins) == 1 and self._is_own(origins[0], request.header("host") or "")):
            return Refusal(
                403, "a page of another origin may not use this UI; PHI_UI_HOSTS lists the names it may have"
            )
        sites = request.headers.get("sec-fetch-site", [])
        if all(site.lower() in ("same-origin", "none") for site in sites):
            return None
        follows_link = (
            request.kind == "http"
            and request.method in ("GET", "HEAD")
            and request.header("sec-fetch-mode") == "navigate"
            and request.header("sec-fetch-dest") == "document"
        )
        return None if follows_link else Refusal(403, "another site may link to this UI, and may not use it")

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether the origin is the address that the request names, or a configured one behind a proxy."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or parts.path or parts.query or parts.fragment:
            return False
        if parts.netloc.lower() == host.lower():
            return True
        return host_name(parts.netloc) in self._configured


def host_name(authority: str) -> str | None:
    """Return the name in `name:port`, in lower case; None where it is malformed."""
    try:
        parts = urlsplit(f"//{authority}")
        port, name = parts.port, parts.hostname
    except ValueError:
        return None
    del port  # read to validate it
    if not name or parts.path or parts.query or parts.fragment or parts.username is not None:
        return None
    return name.lower().rstrip(".") or None


def _of_method(request: Request) -> Refusal | None:
    if request.kind == "websocket":
        return None
    if request.method not in METHODS:
        return Refusal(405, f"{request.method} is not allowed")
    if request.method == "POST":
        if not request.changes_state:
            return Refusal(405, "POST is allowed for GraphQL and reports only")
        kind = request.header("content-type")
        if kind is None or kind.lower() not in JSON_TYPES:
            return Refusal(415, "a POST needs one header Content-Type: application/json")
    elif request.changes_state and "text/html" not in (request.headers.get("accept") or [""])[0]:
        return Refusal(405, "GraphQL is executed by POST only")  # with text/html Dagster sends its GraphQL page
    return None


def _with_headers(send: Send) -> Send:
    async def add(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return add


async def _refuse(scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await receive()  # websocket.connect; closing before accepting answers 403
        return await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    body = f"{refusal.reason}\n".encode("ascii", "backslashreplace")
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope.get("method") == "HEAD" else body})
