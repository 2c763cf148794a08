"""A chat server in memory, with scripted answers: what the chat page is tested against without a model.

`python -m tests.support.chat_api_fake [PORT]` serves it with a few conversations, to look at the page.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support import chat_records as records
from tests.support.chat_streams import Script, Stream, events_of
from tests.support.chat_texts import CONVERSATIONS, EXAMPLES, RIGHT_TO_LEFT, answer_to

PAGE = Path(__file__).parents[2] / "chat_code" / "page"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "x-content-type-options": "nosniff"}
PAGE_SIZE = 30
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


class JSONResponse(Response):
    """JSON in ASCII: a hostile text may hold half a surrogate pair, which UTF-8 cannot."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


class Refused(Exception):
    """An error of the API."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None):
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after


@dataclass
class ChatApiFake:
    """The server's memory, and what a test may set and look at."""

    page: Path = PAGE
    scripts: list[Script] = field(default_factory=list)
    refusals: list[tuple[str, Refused]] = field(default_factory=list)
    """Errors for the next requests whose method and path contain the text."""
    lose_reply: int = 0
    """So many questions are taken, but answered with a proxy's 502."""
    requests: list[str] = field(default_factory=list)
    conversations: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    models: list[dict[str, Any]] = field(default_factory=list)
    me: dict[str, Any] = field(default_factory=dict)
    address: str = ""
    _released: bool = False
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        for stream in self.streams.values():
            stream.stopped = True
        for kept in (self.scripts, self.refusals, self.requests, self.conversations, self.messages, self.streams):
            kept.clear()
        self.lose_reply, self._released = 0, False
        self.models = [
            records.model("tuned", "phi-assistant", "3", "blue", "2026-11-28T10:00:00Z"),
            records.model("base", "Phi-4-mini-instruct", "1", "base", None),
        ]
        self.me = {"compare": True, "compare_note": "", "keep_days": 0, "lineage": True, "examples": EXAMPLES}
        self.me |= {"limits": {"question_bytes": 65536}, "name": "ann", "local": True, "sign_out": None}

    def refuse(self, request: str, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        """Answer the next request whose method and path contain the text with this error."""
        self.refusals.append((request, Refused(status, code, message, retry_after)))

    def release(self) -> None:
        """Let answers go on that wait (`Script.hold`)."""
        self._released = True

    def all_messages(self) -> list[dict[str, Any]]:
        return [message for messages in self.messages.values() for message in messages.values()]

    def add(self, title: str, turns: list[tuple[str, str]], days: float = 0) -> str:
        """Store a conversation of questions and answers; return its id."""
        at = datetime.now(UTC) - timedelta(days=days)
        id = f"stored-{len(self.conversations):06}"
        self.conversations[id] = records.conversation(id, title, records.iso(at))
        self.messages[id] = {}
        parent = None
        for number, (question, answer) in enumerate(turns):
            user = records.message(f"{id}-q{number}", parent, "user", question)
            reply = records.message(f"{id}-a{number}", user["id"], "assistant", answer, model="tuned")
            reply |= {"served": self._served("tuned", reply["id"]), "seconds": 0.8, "at": records.iso(at)}
            self.messages[id] |= {user["id"]: user, reply["id"]: reply}
            parent = reply["id"]
        self.conversations[id]["head"] = parent
        return id

    # --- routes

    def application(self) -> Starlette:
        c, m = "/api/conversations/{c}", "/api/conversations/{c}/messages/{m}"
        routes = [
            Route("/api/me", self._me),
            Route("/api/export", self._export),
            Route("/api/conversations", self._list),
            Route("/api/conversations", self._delete_all, methods=["DELETE"]),
            Route(c, self._read),
            Route(c, self._patch, methods=["PATCH"]),
            Route(c, self._delete, methods=["DELETE"]),
            Route(f"{c}/messages", self._ask, methods=["POST"]),
            Route(f"{m}/stream", self._stream),
            Route(f"{m}/stop", self._stop, methods=["POST"]),
            Route(f"{m}/feedback", self._feedback, methods=["PUT", "DELETE"]),
            Route(f"{m}/why", self._why),
            Route("/locales/index.json", self._locales),
            Route("/locales/ar.json", self._right_to_left),
            Route("/{path:path}", self._file),
        ]
        handlers: dict[Any, Any] = {Refused: _refused}
        return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(_Front, fake=self)])

    async def _me(self, request: Request) -> Response:
        return JSONResponse(self.me | {"models": self.models})

    async def _list(self, request: Request) -> Response:
        query = request.query_params.get("q", "").casefold()
        found = [each for each in self.conversations.values() if self._contains(each, query)]
        found.sort(key=lambda each: each["updated"], reverse=True)
        start = int(request.query_params.get("cursor", 0))
        end = start + PAGE_SIZE
        return JSONResponse({"conversations": found[start:end], "cursor": str(end) if end < len(found) else None})

    def _contains(self, conversation: dict[str, Any], query: str) -> bool:
        texts = [conversation["title"], *(each["content"] for each in self.messages[conversation["id"]].values())]
        return any(query in text.casefold() for text in texts)

    def _of(self, request: Request) -> dict[str, Any]:
        found = self.conversations.get(request.path_params["c"])
        if not found:
            raise Refused(404, "not_found", "There is no such conversation.")
        return found

    def _message_of(self, request: Request) -> dict[str, Any]:
        found = self.messages[self._of(request)["id"]].get(request.path_params["m"])
        if not found:
            raise Refused(404, "not_found", "There is no such message.")
        return found

    async def _read(self, request: Request) -> Response:
        found = self._of(request)
        return JSONResponse({"conversation": found, "messages": list(self.messages[found["id"]].values())})

    async def _patch(self, request: Request) -> Response:
        found = self._of(request)
        change = await request.json()
        found |= {name: change[name] for name in ("title", "head") if name in change}
        found["etag"] += "x"
        return JSONResponse(found)

    async def _delete(self, request: Request) -> Response:
        id = self._of(request)["id"]
        del self.conversations[id], self.messages[id]
        return Response(status_code=204)

    async def _delete_all(self, request: Request) -> Response:
        self.conversations.clear()
        self.messages.clear()
        return Response(status_code=204)

    async def _export(self, request: Request) -> Response:
        lines = [
            json.dumps({"messages": [{"role": each["role"], "content": each["content"]} for each in messages.values()]})
            for messages in self.messages.values()
        ]
        headers = {"content-disposition": 'attachment; filename="conversations.jsonl"'}
        return PlainTextResponse("\n".join([*lines, ""]), headers=headers, media_type="application/jsonl")

    async def _ask(self, request: Request) -> Response:
        id, asked = request.path_params["c"], await request.json()
        if asked["answer_id"] not in self.streams:
            self._take(id, asked)
        if self.lose_reply:
            self.lose_reply -= 1
            return PlainTextResponse("<html>Bad gateway</html>", 502, media_type="text/html")
        return self._answer(asked["answer_id"], 0)

    def _take(self, id: str, asked: dict[str, Any]) -> None:
        """Store the question and begin to write its answer."""
        if any(not stream.ended for stream in self.streams.values()):
            raise Refused(429, "busy", "Another answer is being written.", 2)
        known = self.messages.get(id, {}).get(asked["id"])
        if known and known["content"] != asked["content"]:
            raise Refused(409, "conflict", "Another message has this id.")
        if id not in self.conversations:
            self.conversations[id] = records.conversation(id, asked["content"][:60], records.now())
            self.messages[id] = {}
        messages = self.messages[id]
        if asked["parent"] and asked["parent"] not in messages:
            raise Refused(400, "invalid", "There is no such parent.")
        if not known:
            messages[asked["id"]] = records.message(asked["id"], asked["parent"], "user", asked["content"])
        answer = records.message(
            asked["answer_id"], asked["id"], "assistant", "", model=asked["model"], state="running"
        )
        messages[answer["id"]] = answer
        self.conversations[id] |= {"head": answer["id"], "updated": records.now()}
        script = self.scripts.pop(0) if self.scripts else Script()
        self.streams[answer["id"]] = stream = Stream(cut_after=script.cut_after)
        task = asyncio.ensure_future(self._write(id, asked, answer, stream, script))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, id: str, asked: dict, answer: dict, stream: Stream, script: Script) -> None:
        """Write the answer, whether or not anybody reads it."""
        user = self.messages[id][asked["id"]]
        await stream.add("started", {"answer_id": answer["id"], "conversation": self.conversations[id], "user": user})
        began = time.monotonic()
        text = answer_to(asked["content"], asked["model"]) if script.text is None else script.text
        pieces = [text[at : at + 12] for at in range(0, len(text), 12)]
        for number, piece in enumerate(pieces):
            while script.hold and number and not self._released and not stream.stopped:
                await asyncio.sleep(0.02)
            if stream.stopped:
                break
            await asyncio.sleep(script.pause)
            answer["content"] += piece
            await stream.add("delta", {"text": piece})
        code = "stopped" if stream.stopped else script.ends
        states = {"done": "done", "refused_by_filter": "refused", "failed": "failed", "unreachable": "failed"}
        answer |= {
            "state": states.get(code, "cut"),
            "why": script.why,
            "served": self._served(asked["model"], answer["id"]),
        }
        answer |= {"seconds": round(time.monotonic() - began, 2)}
        answer |= {"usage": {"prompt_tokens": 20, "completion_tokens": len(pieces), "dropped_turns": 0}}
        if id not in self.conversations:
            return await stream.end()
        ending = {"message": answer, "conversation": self.conversations[id]}
        if code == "done":
            await stream.add("done", ending)
        else:
            await stream.add("cut", ending | {"why": script.why, "code": code, "retry": script.retry})

    async def _stream(self, request: Request) -> Response:
        self._message_of(request)
        if request.path_params["m"] not in self.streams:
            raise Refused(404, "not_found", "This answer is finished.")
        return self._answer(request.path_params["m"], int(request.query_params.get("after", 0)))

    def _answer(self, answer: str, after: int) -> Response:
        stream = self.streams[answer]
        limit, stream.cut_after = stream.cut_after, 0
        headers = {"cache-control": "no-store"}
        return StreamingResponse(events_of(stream, after, limit), media_type="text/event-stream", headers=headers)

    async def _stop(self, request: Request) -> Response:
        self._message_of(request)
        self.streams[request.path_params["m"]].stopped = True
        return Response(status_code=204)

    async def _feedback(self, request: Request) -> Response:
        message = self._message_of(request)
        message["feedback"] = None if request.method == "DELETE" else (await request.json()) | {"at": records.now()}
        return Response(status_code=204) if request.method == "DELETE" else JSONResponse(message)

    async def _why(self, request: Request) -> Response:
        message = self._message_of(request)
        text = "How do I reset my password?\nOpen Settings, choose Security, then Reset password."
        nearest = [
            {"source": "data/support/conversations.jsonl:12", "similarity": 0.91, "text": text},
            {"source": "data/support/conversations.jsonl:87", "similarity": 0.74, "text": None},
        ]
        facts = [
            {"name": "dataset", "value": "version 5, 1,204 conversations", "note": "published on 27 November 2026"},
            {"name": "base model", "value": "microsoft/Phi-4-mini-instruct", "note": ""},
            {"name": "evaluation", "value": "78 of 80 questions right", "note": "76 before"},
        ]
        return JSONResponse({"served": message["served"], "facts": facts, "nearest": nearest, "note": ""})

    async def _locales(self, request: Request) -> Response:
        names = json.loads((self.page / "locales" / "index.json").read_text(encoding="utf-8"))
        return JSONResponse(names | {"ar": "العربية"})

    async def _right_to_left(self, request: Request) -> Response:
        return JSONResponse({"language": "ar", "dir": "rtl", "texts": RIGHT_TO_LEFT})

    async def _file(self, request: Request) -> Response:
        path = self.page / (request.path_params["path"] or "index.html")
        if not path.is_file() or self.page not in path.resolve().parents:
            raise Refused(404, "not_found", "There is no such page.")
        return FileResponse(path, headers=HEADERS, media_type=TYPES.get(path.suffix))

    def _served(self, model: str, answer: str) -> dict[str, str]:
        found = next(each for each in self.models if each["id"] == model)
        return {
            "answer_id": answer,
            "deployment": found["deployment"],
            "model": found["name"],
            "model_version": found["version"],
            "model_digest": "sha256:4f1c09ab72e1",
            "dataset_digest": "sha256:9b77d2c41a05",
            "dagster_run": "0f9f1c58-7a55-4b0f-9be0-2f1f6d9f8f52",
        }


@dataclass
class _Front:
    """Logs each request; refuses what a form of another site could send, and what a test wants refused."""

    app: ASGIApp
    fake: ChatApiFake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        line = f"{request.method} {request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
        self.fake.requests.append(line)
        if request.method in UNSAFE and request.headers.get("x-phi-chat") != "1":
            return await _json(400, "invalid", "The header x-phi-chat is missing.")(scope, receive, send)
        for place, (wanted, refusal) in enumerate(self.fake.refusals):
            if wanted in line:
                del self.fake.refusals[place]
                answer = _json(refusal.status, refusal.code, refusal.message, refusal.retry_after)
                return await answer(scope, receive, send)
        await self.app(scope, receive, send)


def _json(status: int, code: str, message: str, retry_after: float | None = None) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "retry_after": retry_after}}, status)


async def _refused(request: Request, refusal: Refused) -> Response:
    return _json(refusal.status, refusal.code, refusal.message, refusal.retry_after)


@contextmanager
def chat_api_fake(port: int = 0) -> Iterator[ChatApiFake]:
    """Serve the page and the API on 127.0.0.1 during the block, in a thread."""
    fake = ChatApiFake()
    config = uvicorn.Config(fake.application(), host="127.0.0.1", port=port, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _until(lambda: server.started)
    fake.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        fake.release()
        server.should_exit = server.force_exit = True
        thread.join(10)


def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the fake did not start"
        time.sleep(0.02)


def fill(fake: ChatApiFake) -> None:
    """Store the conversations that the pictures show."""
    for title, turns, days in CONVERSATIONS:
        fake.add(title, turns, days)


if __name__ == "__main__":
    with chat_api_fake(int("".join(sys.argv[1:]) or 0)) as served:
        fill(served)
        print(served.address, flush=True)
        threading.Event().wait()
