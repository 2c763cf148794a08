"""The records of the chat API, as its fake keeps them."""

from datetime import UTC, datetime
from typing import Any


def model(id: str, name: str, version: str, deployment: str, since: str | None) -> dict[str, Any]:
    return {
        "id": id,
        "name": name,
        "version": version,
        "deployment": deployment,
        "since": since,
        "available": True,
        "why_not": "",
    }


def conversation(id: str, title: str, at: str) -> dict[str, Any]:
    return {"id": id, "title": title, "created": at, "updated": at, "head": None, "etag": "1"}


def message(id: str, parent: str | None, role: str, content: str, **more: Any) -> dict[str, Any]:
    empty = {"state": "done", "why": "", "served": None, "usage": None, "seconds": None, "feedback": None}
    return {"id": id, "parent": parent, "role": role, "content": content, "at": now(), **empty, **more}


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> str:
    return iso(datetime.now(UTC))
