"""The endpoint's stable address on this machine: checks the key, chooses a deployment, forwards the request.

`python -m phi_assets.backends.local.serving.router --folder F --listen-fd N` runs until it is stopped.
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import sys
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from phi_assets.backends.local.serving.state import HOST, DeploymentState, EndpointState, read_state
from serving_code.disconnect import ClientGone, unless_gone
from serving_code.errors import Refusal, nearest
from serving_code.limits import check_key, read_body
from serving_code.logs import event, log_to_stderr

PIN = "azureml-model-deployment"
MAX_BODY = 16_000_000
ATTEMPTS = 5
RETRY_SECONDS = 0.2
READY_SECONDS = 5.0
DRAIN_SECONDS = 60
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
# These belong to one connection, not to the message (RFC 9110, 7.6.1).
HOP_BY_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding")
)
# httpx and uvicorn write these themselves; the request id is sent once.
REQUEST_HEADERS_REPLACED = HOP_BY_HOP | {"host", "content-length", "upgrade", "x-request-id"}
ANSWER_HEADERS_REPLACED = HOP_BY_HOP | {"date", "server"}


class StateReader:
    """The endpoint's state and key, reloaded when the file changes."""

    def __init__(self, folder: Path) -> None:
        self._file, self._key_file = folder / "state.json", folder / "key"
        self._seen: tuple[int, int] | None = None
        self._state: EndpointState | None = None

    def state(self) -> EndpointState:
        """Return the current state."""
        with suppress(FileNotFoundError):
            stat = os.stat(self._file)
            if (stat.st_mtime_ns, stat.st_ino) != self._seen:
                try:
                    self._state, self._seen = read_state(self._file), (stat.st_mtime_ns, stat.st_ino)
                except ValueError as e:
                    raise Refusal(503, str(e), code="damaged_endpoint") from e
        if self._state is None:
            raise Refusal(503, "this endpoint has no state file; deploy a model to it first", code="no_endpoint")
        return self._state

    def key(self) -> str:
        """The endpoint's key."""
        return self._key_file.read_text(encoding="utf-8").strip()


def choose(state: EndpointState, pinned: str | None, failed: Collection[str] = ()) -> DeploymentState:
    """The pinned deployment, or one drawn by traffic share; `failed` ones only if there is no other."""
    if pinned is not None:
        if pinned not in state.deployments:
            hint = nearest(pinned, state.deployments) if state.deployments else "nothing is deployed yet"
            raise Refusal(404, f"this endpoint has no deployment {pinned!r}; {hint}", code="no_deployment", param=PIN)
        return state.deployments[pinned]
    shares = {name: share for name, share in state.traffic.items() if share}
    if not shares:
        raise Refusal(404, f"no deployment of {state.name} takes traffic; deploy a model first", code="no_traffic")
    shares = {name: share for name, share in shares.items() if name not in failed} or shares
    [name] = random.choices(list(shares), weights=list(shares.values()))
    return state.deployments[name]


class Router:
    """Forwards requests to the deployments."""

    def __init__(self, folder: Path) -> None:
        self._reader = StateReader(folder)
        # A stopping server may close a kept-alive connection while a request is written to it. A refused new
        # connection certainly delivered nothing, so the request can safely be retried elsewhere.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        timeout = httpx.Timeout(None, connect=5.0)
        self._client = httpx.AsyncClient(limits=limits, timeout=timeout, trust_env=False)

    async def livez(self, request: Request) -> Response:
        """The router is alive."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """A deployment with traffic is ready."""
        state = self._reader.state()
        for name in (name for name, share in state.traffic.items() if share):
            with suppress(httpx.HTTPError):
                url = f"http://{HOST}:{state.deployments[name].port}/readyz"
                answer = await self._client.get(url, timeout=READY_SECONDS)
                if answer.status_code == 200:
                    return JSONResponse({"status": "ready", "deployment": name})
        raise Refusal(
            503,
            f"no deployment of {state.name} that takes traffic is ready; start it, or deploy a model",
            code="not_ready",
        )

    async def forward(self, request: Request) -> Response:
        """Stream the answer of the chosen deployment."""
        if request.url.path != "/":
            check_key(request.headers.get("authorization"), self._reader.key())
        body = await read_body(request, MAX_BODY)
        upstream = await unless_gone(request, self._send(request, body))
        request.state.held.push_async_callback(upstream.aclose)
        headers = {name: value for name, value in upstream.headers.items() if name not in ANSWER_HEADERS_REPLACED}
        return StreamingResponse(_stream(upstream), upstream.status_code, headers)

    async def _send(self, request: Request, body: bytes) -> httpx.Response:
        pinned = request.headers.get(PIN)
        failed: set[str] = set()
        headers = [item for item in request.headers.items() if item[0] not in REQUEST_HEADERS_REPLACED]
        headers.append(("x-request-id", request.state.request_id))
        for attempt in range(1, ATTEMPTS + 1):
            deployment = choose(self._reader.state(), pinned, failed)
            url = httpx.URL(f"http://{HOST}:{deployment.port}{request.url.path}", query=request.url.query.encode())
            try:
                return await self._client.send(
                    self._client.build_request(request.method, url, headers=headers, content=body), stream=True
                )
            except (httpx.ConnectError, httpx.ConnectTimeout) as e:
                if attempt == ATTEMPTS:
                    raise _broken(deployment, "does not run") from e
                # The deployment may just have been replaced: reload the state.
                failed.add(deployment.name)
                await asyncio.sleep(RETRY_SECONDS)
            except httpx.TransportError as e:
                raise _broken(deployment, f"ended while it answered ({type(e).__name__})") from e
        raise AssertionError("the last attempt returns or raises")


async def _stream(upstream: httpx.Response) -> AsyncIterator[bytes]:
    """Yield the answer's bytes. A broken stream ends with an error event, because the status was already sent."""
    try:
        async for piece in upstream.aiter_raw():
            yield piece
    except httpx.TransportError:
        if not upstream.headers.get("content-type", "").startswith("text/event-stream"):
            raise
        body = Refusal(503, "the deployment ended while it answered; send the request again", code="broken_off").body()
        yield f"data: {json.dumps(body)}\n\n".encode()


def _broken(deployment: DeploymentState, what: str) -> Refusal:
    return Refusal(
        503,
        f"deployment {deployment.name} {what}; try again, and if it stays so start the endpoint's servers again",
        code="deployment_unavailable",
        headers={"Retry-After": "2"},
    )


def build_app(folder: Path) -> Starlette:
    """Return the router as a Starlette application."""
    router = Router(folder)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        event("refused", path=request.url.path, status=error.status, code=error.code)
        response = error.response()
        response.headers["x-request-id"] = request.state.request_id
        return response

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    app = Starlette(
        routes=[
            Route("/livez", router.livez),
            Route("/readyz", router.readyz),
            Route("/{path:path}", router.forward, methods=["GET", "POST"]),
        ],
        exception_handlers={Refusal: refused, ClientGone: gone},
    )
    app.add_middleware(EveryRequest)
    return app


class EveryRequest:
    """Give each request an id, the client's own if valid, and release its resources afterwards."""

    def __init__(self, app) -> None:
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        async with AsyncExitStack() as held:
            # The stream of a disconnected client may never start, and then cannot close its upstream response.
            request.state.held = held
            await self._app(scope, receive, send)


def main() -> None:
    """Route until SIGTERM or SIGINT."""
    # A background process may inherit ignored signals, and then could not be stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the endpoint's folder, with state.json and key")
    parser.add_argument("--listen-fd", type=int, required=True, help="file descriptor of the listening socket")
    options = parser.parse_args()
    log_to_stderr()
    config = uvicorn.Config(
        build_app(options.folder),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    event("routing", folder=str(options.folder), pid=os.getpid())
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[socket.socket(fileno=options.listen_fd)])


if __name__ == "__main__":
    main()
    sys.exit(0)
