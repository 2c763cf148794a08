"""The server: the page's files, the routes, and the start and end of everything behind them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from chat_code import agent_api, api, openai_api
from chat_code.errors import Refused
from chat_code.guard import Guard
from chat_code.logs import event
from chat_code.service import Chat
from chat_code.who import COOKIE_DAYS, OwnerOfThisMachine, WhoAsks

PAGE = Path(__file__).resolve().parent / "page"
DRAIN_SECONDS = 3
SWEEP_SECONDS = 3600
SIGNED_OUT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Chat: signed out</title><link rel="stylesheet" href="/style.css"></head>
<body><main class="signed-out"><h1>This chat is closed</h1>
<p>{why}</p><p><a href="/">Open the chat</a></p></main></body></html>
"""


async def index(request: Request) -> Response:
    """The page; or, with a one-time token, the cookie and a redirect to the address without it."""
    who: WhoAsks = request.app.state.who
    token = request.query_params.get("token")
    if token is not None and isinstance(who, OwnerOfThisMachine):
        value = who.redeem(token)
        if value is None:
            return _signed_out("This link was used before, or it is too old. `phi chat` prints a new one.")
        response = RedirectResponse("/", 303)
        response.set_cookie(who.cookie, value, max_age=COOKIE_DAYS * 86_400, httponly=True, samesite="strict")
        return response
    try:
        who.person(request)
    except Refused as e:
        return _signed_out(e.message[0].upper() + e.message[1:] + ".", e.status)
    return FileResponse(PAGE / "index.html", headers={"cache-control": "no-cache"})


def _signed_out(why: str, status: int = 401) -> HTMLResponse:
    return HTMLResponse(SIGNED_OUT.format(why=why), status)


async def livez(request: Request) -> JSONResponse:
    """200 while the process is alive."""
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> JSONResponse:
    """200 when the history answers. Raises Refused (503)."""
    chat: Chat = request.app.state.chat
    await chat.history.conversations("nobody")
    return JSONResponse({"status": "ready", "models": list(chat.endpoints)})


async def on_refusal(request: Request, error: Exception) -> Response:
    """A refused request."""
    assert isinstance(error, Refused)
    headers = {"retry-after": str(error.retry_after)} if error.retry_after else {}
    return JSONResponse(error.body(), error.status, headers=headers)


async def on_http_error(request: Request, error: Exception) -> Response:
    """An unknown path or method."""
    assert isinstance(error, HTTPException)
    code = "method" if error.status_code == 405 else "not_found"
    return JSONResponse(Refused(code, f"{request.method} {request.url.path} is no route").body(), error.status_code)


class PageFiles(StaticFiles):
    """The page's files: a browser asks each time whether they changed, so that a new release is seen at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def build_app(chat: Chat, who: WhoAsks, hosts: Iterable[str], keep_days: float = 0) -> Starlette:
    """Return the application. `hosts`: the names, with port, by which it is reached; none: any.

    Conversations without a new message for `keep_days` days are deleted; 0 keeps all.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(chat, keep_days))
        yield
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping
        await chat.close()

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/livez", livez),
            Route("/readyz", readyz),
            *api.routes(),
            *openai_api.routes(),
            *agent_api.routes(),
            Mount("/", PageFiles(directory=PAGE)),
        ],
        exception_handlers={Refused: on_refusal, HTTPException: on_http_error},
        lifespan=lifespan,
    )
    app.state.chat, app.state.who, app.state.keep_days = chat, who, keep_days
    app.add_middleware(_Traced, chat=chat)
    app.add_middleware(Guard, hosts=list(hosts))
    return app


class _Traced:
    """Puts a span around each request that asks, where the endpoint of the chat's model is traced."""

    def __init__(self, app: ASGIApp, chat: Chat) -> None:
        traced = [endpoint.tracing for endpoint in chat.endpoints.values()]
        self._app = traced[0].around(app) if traced else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _sweep(chat: Chat, days: float) -> None:
    while days > 0:
        try:
            deleted = await chat.history.sweep(days)
            if deleted:
                event("conversations_deleted", count=deleted, older_than_days=days)
        except Refused as e:
            event("sweep_failed", level=logging.WARNING, error=e.code)
        await asyncio.sleep(SWEEP_SECONDS)


class Server(uvicorn.Server):
    """A server that stops its answers first: whoever follows them is told, and none holds up the end."""

    def __init__(self, config: uvicorn.Config, chat: Chat) -> None:
        super().__init__(config)
        self._chat = chat

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._chat.live.close()
        await super().shutdown(sockets)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN_SECONDS, server_header=False
    )
    host, port = listener.getsockname()[:2]
    event("listening", host=host, port=port)
    with suppress(KeyboardInterrupt):
        Server(config, app.state.chat).run(sockets=[listener])
    event("stopped")
