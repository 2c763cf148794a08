"""The routes between the page and the server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chat_code.conversations import Feedback, as_json, branch, now, turns
from chat_code.errors import Refused
from chat_code.models import BASE, TUNED
from chat_code.requests import answer_key, chat_of, id_in_path, identifier, json_body, person_of, text_in, who_of
from chat_code.service import Event, Question

MAX_TITLE, MAX_COMMENT, MAX_CORRECTION, MAX_SEARCH = 200, 4_000, 65_536, 200
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def me(request: Request) -> JSONResponse:
    """Who asks, which models can be asked, and the limits."""
    person, chat, who = person_of(request), chat_of(request), who_of(request)
    known = chat.facts.read()
    models = [chat.facts.model(model) | await chat.available(model) for model in chat.endpoints]
    return JSONResponse(
        {
            "name": person.name,
            "local": who.local,
            "sign_out": who.sign_out,
            "models": models,
            "compare": {TUNED, BASE} <= {model["id"] for model in models if model["available"]},
            "compare_note": str(known.get("compare_note", "")),
            "limits": {"question_bytes": chat.limits.question_bytes},
            "keep_days": request.app.state.keep_days,
            "lineage": chat.lineage is not None or bool(known.get("versions")),
            "examples": [str(example) for example in known.get("examples", [])][:3],
        }
    )


async def conversations(request: Request) -> JSONResponse:
    """A page of this person's conversations."""
    search = request.query_params.get("q", "").strip()
    if len(search) > MAX_SEARCH:
        raise Refused("invalid", f"search for at most {MAX_SEARCH} characters")
    cursor = request.query_params.get("cursor", "")
    found, following = await chat_of(request).history.conversations(person_of(request).user, cursor, search)
    return JSONResponse({"conversations": [as_json(each) for each in found], "cursor": following or None})


async def conversation(request: Request) -> JSONResponse:
    """A conversation with all its messages."""
    found, messages = await chat_of(request).read(person_of(request).user, id_in_path(request, "conversation"))
    return JSONResponse({"conversation": as_json(found), "messages": [as_json(each) for each in messages]})


async def ask(request: Request) -> StreamingResponse:
    """Ask a question; the answer is a stream of events."""
    person, chat = person_of(request), chat_of(request)
    body = await json_body(request, chat.limits.question_bytes * 2 + 10_000)
    content = text_in(body, "content", chat.limits.question_bytes)
    if not content.strip():
        raise Refused("invalid", "the question is empty; write something")
    parent = body.get("parent")
    asked = Question(
        user=person.user,
        conversation=id_in_path(request, "conversation"),
        id=identifier(body.get("id"), "id"),
        parent=None if parent is None else identifier(parent, "parent"),
        content=content,
        answer_id=identifier(body.get("answer_id"), "answer_id"),
        model=str(body.get("model", TUNED)),
    )
    return _stream(await chat.ask(asked))


async def follow(request: Request) -> StreamingResponse:
    """The events of a running answer after a number."""
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 9:
        raise Refused("invalid", "after is the number of the last event that arrived")
    return _stream(chat_of(request).follow(answer_key(request), int(after)))


async def stop(request: Request) -> Response:
    """Stop a running answer."""
    await chat_of(request).stop(answer_key(request))
    return Response(status_code=204)


async def rate(request: Request) -> JSONResponse:
    """Store or withdraw what a person says about an answer."""
    person, chat = person_of(request), chat_of(request)
    feedback = None
    if request.method == "PUT":
        body = await json_body(request, 2 * (MAX_COMMENT + MAX_CORRECTION) + 10_000)
        value, consent = body.get("value"), body.get("consent", False)
        if value not in ("up", "down"):
            raise Refused("invalid", f"value is {value!r}; it must be up or down")
        if not isinstance(consent, bool):
            raise Refused("invalid", "consent must be true or false")
        feedback = Feedback(
            value=value,
            comment=text_in(body, "comment", MAX_COMMENT, default=""),
            correction=text_in(body, "correction", MAX_CORRECTION, default=""),
            consent=consent,
            at=now(),
        )
    found = await chat.history.rate(
        person.user, id_in_path(request, "conversation"), id_in_path(request, "message"), feedback
    )
    return JSONResponse(as_json(found))


async def change(request: Request) -> JSONResponse:
    """Rename a conversation, or show another branch."""
    body = await json_body(request, 10_000)
    title, head = body.get("title"), body.get("head")
    if title is None and head is None:
        raise Refused("invalid", "send a title, or a head")
    if title is not None:
        title = " ".join(text_in(body, "title", MAX_TITLE * 4).split())[:MAX_TITLE]
        if not title:
            raise Refused("invalid", "the title is empty")
    found = await chat_of(request).history.change(
        person_of(request).user,
        id_in_path(request, "conversation"),
        title=title,
        head=None if head is None else identifier(head, "head"),
        etag=request.headers.get("if-match", "").strip('"'),
    )
    return JSONResponse(as_json(found))


async def delete(request: Request) -> Response:
    """Delete a conversation."""
    await chat_of(request).delete(person_of(request).user, id_in_path(request, "conversation"))
    return Response(status_code=204)


async def delete_all(request: Request) -> Response:
    """Delete all of a person's conversations."""
    await chat_of(request).delete(person_of(request).user, None)
    return Response(status_code=204)


async def export(request: Request) -> StreamingResponse:
    """All conversations as JSON Lines, in the form that training reads."""
    user, chat = person_of(request).user, chat_of(request)

    async def lines() -> AsyncIterator[str]:
        cursor = ""
        while True:
            found, cursor = await chat.history.conversations(user, cursor)
            for each in found:
                header, messages = await chat.history.read(user, each.id)
                spoken = turns(branch(messages, header.head))
                if spoken:
                    yield json.dumps({"messages": spoken}, ensure_ascii=False) + "\n"
            if not cursor:
                return

    headers = {"content-disposition": 'attachment; filename="conversations.jsonl"'}
    return StreamingResponse(lines(), media_type="application/jsonl", headers=headers)


async def why(request: Request) -> JSONResponse:
    """Where an answer comes from."""
    person, chat, wanted = person_of(request), chat_of(request), id_in_path(request, "message")
    _, messages = await chat.read(person.user, id_in_path(request, "conversation"))
    found = next((each for each in messages if each.id == wanted and each.role == "assistant"), None)
    if found is None:
        raise Refused("not_found", "there is no such answer")
    served = as_json(found.served) if found.served else None
    told: dict[str, Any] = {"facts": [], "nearest": [], "note": ""}
    if found.model == BASE:
        told["note"] = "The base model answered: none of your training data is in it."
    elif found.served:
        by_command = await chat.lineage.of(found.served.answer_id) if chat.lineage else None
        told = by_command or {**told, "facts": chat.facts.facts_of(found.served)}
    if not told["facts"] and not told["note"]:
        told["note"] = "Nothing is known of this version's data."
    return JSONResponse({"served": served, **told})


def routes() -> list[Route]:
    """Return all routes of the page's API."""
    one = "/api/conversations/{conversation}"
    message = one + "/messages/{message}"
    return [
        Route("/api/me", me),
        Route("/api/export", export),
        Route("/api/conversations", conversations),
        Route("/api/conversations", delete_all, methods=["DELETE"]),
        Route(one, conversation),
        Route(one, change, methods=["PATCH"]),
        Route(one, delete, methods=["DELETE"]),
        Route(one + "/messages", ask, methods=["POST"]),
        Route(message + "/stream", follow),
        Route(message + "/stop", stop, methods=["POST"]),
        Route(message + "/feedback", rate, methods=["PUT", "DELETE"]),
        Route(message + "/why", why),
    ]


def _stream(events: AsyncIterator[Event | None]) -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        async for event in events:
            if event is None:
                yield ": ping\n\n"
            else:
                number, name, data = event
                yield f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers=STREAM_HEADERS)
