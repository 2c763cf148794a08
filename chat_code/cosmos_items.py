"""Items of the history in Cosmos DB: their ids, their queries, and the conversations and messages in them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from chat_code.conversations import Conversation, Message, as_json, message_from
from chat_code.cosmos_container import LARGEST, Item, size_of
from chat_code.errors import Refused

BESIDE_TURNS = 2_000  # bytes of a copy's ids and names
HEADERS = 'SELECT * FROM c WHERE c.kind = "conversation" ORDER BY c.kind ASC, c.updated DESC'
HEADERS_OF = 'SELECT * FROM c WHERE c.kind = "conversation" AND ARRAY_CONTAINS(@conversations, c.conversation)'
FOUND = (
    "SELECT VALUE c.conversation FROM c WHERE CONTAINS(c.title, @search, true) OR CONTAINS(c.content, @search, true)"
)
MESSAGES = 'SELECT * FROM c WHERE c.kind = "message" AND c.conversation = @conversation'
MESSAGE_LIVES = 'SELECT c.id, c._ts, c.ttl FROM c WHERE c.kind = "message" AND c.conversation = @conversation'
ALL_MESSAGES = 'SELECT VALUE c.id FROM c WHERE c.kind = "message"'
ALL_COPIES = 'SELECT VALUE c.id FROM c WHERE c.kind = "feedback"'
COPIES = 'SELECT VALUE c.id FROM c WHERE c.kind = "feedback" AND c.conversation = @conversation'


def header_id(conversation: str) -> str:
    return f"c:{conversation}"


def message_id(conversation: str, message: str) -> str:
    return f"m:{conversation}:{message}"


def conversation_of(header: Item) -> Conversation:
    title, created, updated, head = (header[name] for name in ("title", "created", "updated", "head"))
    return Conversation(header["conversation"], title, created, updated, head, etag_of(header))


def etag_of(item: Item) -> str:
    return item["_etag"].strip('"')


def message_of(item: Item) -> Message:
    return message_from(item | {"id": item["message"]})


def may_be_used(item: Item) -> bool:
    return bool((item.get("feedback") or {}).get("consent"))


def ttl_of(item: Item, left: int) -> dict[str, int]:
    return {"ttl": left} if "ttl" in item else {}


def newest_turns(before: list[dict[str, str]], rated: Message) -> list[dict[str, str]]:
    """Return the newest of the turns, as many as an item can hold beside the answer."""
    room = LARGEST - size_of(as_json(rated)) - BESIDE_TURNS
    kept: list[dict[str, str]] = []
    for turn in reversed(before):
        room -= size_of(turn) + 1
        if room < 0:
            break
        kept.append(turn)
    return kept[::-1]


def parts(rows: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def encoded(continuation: str) -> str:
    return base64.urlsafe_b64encode(continuation.encode()).decode()


def decoded(cursor: str) -> str:
    try:
        return base64.urlsafe_b64decode(cursor.encode()).decode()
    except ValueError as e:
        raise Refused("invalid", "cursor is none that this list gave; begin it again") from e
