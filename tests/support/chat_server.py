"""A chat server in a thread, over an endpoint that answers as a test scripts it."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from chat_code.endpoint import Endpoint
from chat_code.history_sqlite import SqliteHistory
from chat_code.limits import Limits
from chat_code.models import Facts
from chat_code.server import build_app
from chat_code.service import Chat
from chat_code.tracing import OFF, Tracing
from chat_code.turn import TurnSettings
from chat_code.who import OwnerOfThisMachine, Person, WhoAsks, link_token, program_key

SECRET = "a secret of at least thirty-two characters"
KEY = "the-key-of-the-endpoint"
OURS = {"x-phi-chat": "1"}
ENVELOPE = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "phi",
    "system_fingerprint": "blue/phi:3",
}


@dataclass
class StreamingEndpoint:
    """Repeats the question in pieces of one word, unless a scripted step says otherwise.

    Steps: `("refuse", status, headers)`, `("cut", pieces)` ends without a mark, `("error", pieces)` sends an error
    event, `("whole",)` answers in one object, `("slow", seconds)` waits before the first piece, `("hang",)` never goes
    on after the first piece, `("say", text)` says this.
    """

    address: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    between_s: float = 0.0
    serving: int = 0
    most_at_once: int = 0

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append({"headers": dict(request.headers), "body": body})
        step: tuple[Any, ...] = (
            self.steps.pop(0) if self.steps else ("say", f"You said: {body['messages'][-1]['content']}")
        )
        headers = {"x-request-id": "req-1", "azureml-model-deployment": "blue", "x-model-name": "phi"}
        headers["x-model-version"] = "3"
        if step[0] == "refuse":
            return JSONResponse({"error": {"message": "scripted"}}, step[1], headers=step[2] if step[2:] else {})
        if step[0] == "whole" or not body.get("stream"):
            text = step[1] if step[0] == "say" else "in one piece"
            choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            return JSONResponse(
                {**ENVELOPE, "choices": [{"index": 0, **choice}], "usage": _counted(body, text)}, headers=headers
            )
        return StreamingResponse(self._events(step, body), media_type="text/event-stream", headers=headers)

    async def _events(self, step: tuple[Any, ...], body: dict[str, Any]) -> AsyncIterator[str]:
        def chunk(delta: dict[str, str], reason: str | None = None) -> str:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            return _sse({**ENVELOPE, "object": "chat.completion.chunk", "choices": [choice]})

        self.serving += 1
        self.most_at_once = max(self.most_at_once, self.serving)
        try:
            if step[0] == "slow":
                await asyncio.sleep(step[1])
            yield chunk({"role": "assistant", "content": ""})
            text = step[1] if step[0] == "say" else "one two three four"
            for number, word in enumerate(text.split(" ")):
                if step[0] in ("cut", "error") and number == step[1]:
                    if step[0] == "error":
                        yield _sse({"error": {"message": "broke in the middle"}})
                    return
                if step[0] == "hang" and number == 1:
                    await asyncio.sleep(3600)
                await asyncio.sleep(self.between_s)
                yield chunk({"content": word if number == 0 else f" {word}"})
            yield chunk({}, "stop")
            usage = _counted(body, text) | {"phi_dropped_turns": 0}
            yield _sse({**ENVELOPE, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            yield "data: [DONE]\n\n"
        finally:
            self.serving -= 1


def _counted(body: dict[str, Any], text: str) -> dict[str, int]:
    """Return the usage: a token for each message of the prompt, and for each word of the answer."""
    prompt, answer = len(body["messages"]), len(text.split(" "))
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def _sse(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value)}\n\n"


@contextmanager
def in_a_thread(app: ASGIApp) -> Iterator[str]:
    """Serve the application on a free port of loopback, and yield its address."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def streaming_endpoint() -> Iterator[StreamingEndpoint]:
    """An endpoint on loopback."""
    script = StreamingEndpoint()
    ready = Route("/readyz", lambda request: JSONResponse({}))
    app = Starlette(routes=[ready, Route("/v1/chat/completions", script.chat, methods=["POST"])])
    with in_a_thread(app) as address:
        script.address = address
        yield script


@dataclass
class ChatServer:
    """A running chat server, and how a browser of its owner asks it."""

    address: str
    app: Starlette
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def chat(self) -> Chat:
        return self.app.state.chat

    def client(self, *, signed_in: bool = True, person: str = "") -> httpx.Client:
        """Return a client with the owner's cookie, or of a person where ByHeader finds out who asks."""
        client = self._opened({**OURS, "x-person": person} if person else OURS)
        if signed_in and not person:
            answer = client.get("/", params={"token": link_token(SECRET)})
            assert answer.status_code == 303
        return client

    def program(self) -> httpx.Client:
        """Return a client with the owner's key for programs."""
        return self._opened({"authorization": f"Bearer {program_key(SECRET)}"})

    def _opened(self, headers: dict[str, str]) -> httpx.Client:
        self.clients.append(httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False))
        return self.clients[-1]


class ByHeader(WhoAsks):
    """Believes a header that names the person."""

    def person(self, request: Request) -> Person:
        return Person(request.headers["x-person"], request.headers["x-person"].title())


@contextmanager
def chat_server(
    history: Path,
    endpoints: dict[str, str],
    *,
    settings: TurnSettings | None = None,
    limits: Limits | None = None,
    facts: Path | None = None,
    who: WhoAsks | None = None,
    keep_days: float = 0,
    tracing: Tracing = OFF,
    **waits: float,
) -> Iterator[ChatServer]:
    """A chat server over endpoints by model; `waits` are the endpoint's deadlines in seconds."""
    known = Facts(facts)
    chat = Chat(
        SqliteHistory(history),
        {
            model: Endpoint(url, lambda: KEY, known.complete, tracing=tracing, **waits)
            for model, url in endpoints.items()
        },
        settings or TurnSettings(),
        limits or Limits(),
        known,
    )
    app = build_app(chat, who or OwnerOfThisMachine(SECRET, 8090), hosts=[], keep_days=keep_days)
    with in_a_thread(app) as address:
        server = ChatServer(address, app)
        try:
            yield server
        finally:
            for client in server.clients:
                client.close()


def ask(
    client: httpx.Client, conversation: str, question: str, number: int = 1, parent: str | None = None, **fields: Any
) -> list[tuple[str, dict[str, Any]]]:
    """Ask a question with ids made of the number, and return the events of the answer."""
    body = {"id": f"question-{number}", "parent": parent, "content": question, "answer_id": f"answer-{number}"}
    url = f"/api/conversations/{conversation}/messages"
    with client.stream("POST", url, json={**body, "model": "tuned", **fields}) as answer:
        if answer.status_code != 200:
            answer.read()
            return [("refused", {"status": answer.status_code, **answer.json()["error"]})]
        return list(events(answer))


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the named events of a stream."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def text_of(told: list[tuple[str, dict[str, Any]]]) -> str:
    """Return the text of an answer's pieces."""
    return "".join(data["text"] for name, data in told if name == "delta")
