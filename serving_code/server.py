"""The HTTP server: routes, middleware for every request, startup and shutdown."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving_code.disconnect import ClientGone
from serving_code.errors import Refusal
from serving_code.limits import check_key
from serving_code.logs import event
from serving_code.metrics import CONTENT_TYPE
from serving_code.model_folder import DType
from serving_code.openai_api import chat_completions, model, models
from serving_code.openai_completions import completions
from serving_code.score_api import score
from serving_code.service import Service

OPEN_PATHS = frozenset({"/", "/livez", "/readyz"})
REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
DRAIN_SECONDS = 60
HELP = {
    "POST /score": {"input_data": ["Who founded Microsoft?"], "params": {"max_new_tokens": 128}},
    "POST /v1/chat/completions": {"messages": [{"role": "user", "content": "Who founded Microsoft?"}]},
    "POST /v1/completions": {"prompt": "Microsoft was founded by", "max_tokens": 16},
    "GET /v1/models": "the model that is served",
    "GET /metrics": "counts and times for Prometheus",
    "GET /livez": "200 when the process is alive",
    "GET /readyz": "200 when the model is loaded, 503 before",
    "key": "send the header 'Authorization: Bearer <key>' to /score, /v1 and /metrics",
}


async def help_page(request: Request) -> JSONResponse:
    """The routes, with example requests."""
    service: Service = request.app.state.service
    return JSONResponse({"serves": service.identity.headers(), "routes": HELP})


async def livez(request: Request) -> JSONResponse:
    """200 while the process is alive."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> JSONResponse:
    """200 once the model is loaded; Refusal (503) before."""
    service: Service = request.app.state.service
    service.ready()
    return JSONResponse({"status": "ready", "serves": service.identity.headers()})


async def metrics(request: Request) -> PlainTextResponse:
    """Counts and times for Prometheus."""
    service: Service = request.app.state.service
    gauges: dict[str, float] = {"phi_answers_inside": service.admission.inside}
    if service.batcher and service.engine:
        gauges |= {
            "phi_answers_running": service.batcher.running,
            "phi_kv_tokens": service.engine.kv_tokens,
            "phi_prefix_tokens": service.batcher.prefixes.tokens,
        }
    return PlainTextResponse(service.metrics.text(gauges), media_type=CONTENT_TYPE)


class RequestMiddleware:
    """Gives each request an id, checks the key, adds the identity headers, and logs one line per request."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request.state.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.state.created = int(time.time())
        request.state.usage = {}
        # Releases the place of a streamed answer: a stream whose client disconnected may never be started.
        request.state.held = ExitStack()
        started, status, waiting = time.monotonic(), 0, True
        span = self._service.tracing.request(request.method, request.url.path, request.headers)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request.state.request_id
                for name, value in self._service.identity.headers().items():
                    headers[name] = value
            elif message["type"] == "http.response.body":
                span.sent()
                if message.get("body"):
                    first_byte(message["body"])
            try:
                async with asyncio.timeout(self._service.limits.write_seconds):
                    await send(message)
            except TimeoutError as e:
                event("client_too_slow", level=logging.WARNING, request_id=request.state.request_id)
                raise ClientGone from e

        def first_byte(body: bytes) -> None:
            nonlocal waiting
            # The first event of a stream holds the role only; the second has the first token.
            if waiting and b'"content": ""' not in body:
                waiting = False
                if status == 200 and request.method == "POST":
                    self._service.metrics.first_token_seconds.add(time.monotonic() - started)

        try:
            if scope["path"] not in OPEN_PATHS:
                check_key(request.headers.get("authorization"), self._service.key)
            await self._app(scope, receive, send_with_headers)
        except ClientGone:
            # The server closes the connection of an answer that is not complete.
            pass
        except Refusal as e:
            await e.response()(scope, receive, send_with_headers)
        except Exception:
            event("crash", level=logging.ERROR, exc_info=True, request_id=request.state.request_id)
            if not status:
                await _internal_error(request.state.request_id).response()(scope, receive, send_with_headers)
        finally:
            request.state.held.close()
            span.end(status, request.state.usage, self._service.identity.headers())
            if scope["path"] not in OPEN_PATHS:
                seconds = time.monotonic() - started
                self._log(request, status, seconds)
                path = request.url.path if scope.get("endpoint") and "model" not in scope["path_params"] else "other"
                self._service.metrics.request(path, status, seconds, request.state.usage)

    @staticmethod
    def _log(request: Request, status: int, seconds: float) -> None:
        event(
            "request",
            request_id=request.state.request_id,
            method=request.method,
            path=request.url.path,
            status=status,
            milliseconds=round(seconds * 1000),
            usage=request.state.usage,
        )


async def on_refusal(request: Request, error: Exception) -> Response:
    """A refused request, in OpenAI's error shape."""
    assert isinstance(error, Refusal)
    return error.response()


async def on_http_error(request: Request, error: Exception) -> Response:
    """A 404 or 405 for an unknown path or method."""
    assert isinstance(error, HTTPException)
    return Refusal(
        error.status_code,
        f"{request.method} {request.url.path} is not a route of this server ({error.detail}); GET / lists the routes",
        headers=error.headers,
    ).response()


async def on_client_gone(request: Request, error: Exception) -> Response:
    """A response for the log only; nginx uses 499 for a client that disconnected."""
    return Response(status_code=499)


def _internal_error(request_id: str) -> Refusal:
    """The response to an internal error: the log has the traceback, the client an id to quote."""
    return Refusal(
        500, f"internal server error; send the request again, or report id {request_id}", code="internal_error"
    )


def build_app(service: Service) -> Starlette:
    """The Starlette application of one service."""
    handlers: dict[type[Exception] | int, Callable[[Request, Exception], Awaitable[Response]]] = {
        Refusal: on_refusal,
        HTTPException: on_http_error,
        ClientGone: on_client_gone,
    }
    app = Starlette(
        routes=[
            Route("/", help_page),
            Route("/livez", livez),
            Route("/readyz", readyz),
            Route("/score", score, methods=["POST"]),
            Route("/v1/chat/completions", chat_completions, methods=["POST"]),
            Route("/v1/completions", completions, methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{model:path}", model),
            Route("/metrics", metrics),
        ],
        exception_handlers=handlers,  # type: ignore[arg-type]
    )
    app.state.service = service
    app.add_middleware(RequestMiddleware, service=service)
    if service.cors_origins:
        # Outside the check of the key: a browser asks first, without it.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[*service.identity.headers(), "x-request-id"],
        )
    return app


def serve(
    service: Service, listener: socket.socket, model_dir: Path, threads: int | None, dtype: DType = "auto"
) -> int:
    """Listen, load in the background, serve until SIGTERM or SIGINT. Returns the exit code, 1 if loading failed."""
    config = uvicorn.Config(
        build_app(service), log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS, lifespan="off"
    )
    server = uvicorn.Server(config)
    failed = False

    def stop() -> None:
        nonlocal failed
        failed = server.should_exit = True

    host, port = listener.getsockname()[:2]
    event("listening", host=host, port=port, pid=os.getpid(), serves=service.identity.fingerprint())
    service.load_in_background(model_dir, threads, dtype, on_failure=stop)
    # uvicorn raises the signal again once every response is sent; the handlers turn it into KeyboardInterrupt.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if service.batcher:
        service.batcher.stop()
    if service.answers:
        service.answers.close()
    service.tracing.close()
    event("stopped")
    return 1 if failed else 0
