"""Reads requests: who sends them, their ids, and their bodies."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from chat_code.conversations import IDENTIFIER
from chat_code.errors import Refused
from chat_code.service import Chat
from chat_code.who import Person, WhoAsks


def chat_of(request: Request) -> Chat:
    """Return the chat that the server serves."""
    return request.app.state.chat


def who_of(request: Request) -> WhoAsks:
    """Return what finds out who asks."""
    return request.app.state.who


def person_of(request: Request) -> Person:
    """Return who asks. Raises Refused."""
    return who_of(request).person(request)


def id_in_path(request: Request, name: str) -> str:
    """Return an id of the path. Raises Refused."""
    return identifier(request.path_params[name], name)


def answer_key(request: Request) -> tuple[str, str, str]:
    """Return the key of the answer that the path names. Raises Refused."""
    return person_of(request).user, id_in_path(request, "conversation"), id_in_path(request, "message")


def identifier(value: Any, name: str) -> str:
    """Return the id. Raises Refused when it is none."""
    if not isinstance(value, str) or not IDENTIFIER.fullmatch(value):
        raise Refused("invalid", f"{name} must have 8 to 64 letters, digits, hyphens or underscores")
    return value


def text_in(body: dict[str, Any], name: str, limit: int, default: str | None = None) -> str:
    """Return a text of the body, with at most `limit` bytes. Raises Refused."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Refused("invalid", f"{name} must be text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as e:
        raise Refused("invalid", f"{name} has half a character (an unpaired surrogate); remove it") from e
    if size > limit:
        raise Refused("too_large", f"{name} has {size:,} bytes and at most {limit:,} are taken; shorten it")
    return value


async def json_body(request: Request, limit: int) -> dict[str, Any]:
    """Return the body, a JSON object of at most `limit` bytes. Raises Refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused("invalid", "send content-type: application/json")
    raw = bytearray()
    try:
        async for piece in request.stream():
            raw += piece
            if len(raw) > limit:
                raise Refused("too_large", f"the request has more than {limit:,} bytes; shorten it")
    except ClientDisconnect as e:
        raise Refused("invalid", "the request ended before its body did") from e
    try:
        body = json.loads(bytes(raw))
    except (ValueError, RecursionError) as e:
        raise Refused("invalid", f"the body is not JSON ({e})") from e
    if not isinstance(body, dict):
        raise Refused("invalid", "the body is not a JSON object")
    return body
