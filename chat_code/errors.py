"""Refusals of the chat: a code for programs, and a sentence for people."""

from __future__ import annotations

from typing import Any

STATUS = {
    "invalid": 400,
    "signed_out": 401,
    "forbidden": 403,
    "not_found": 404,
    "method": 405,
    "conflict": 409,
    "changed": 412,
    "too_large": 413,
    "refused_by_filter": 422,
    "busy": 429,
    "failed": 500,
    "endpoint_unavailable": 503,
    "history_unavailable": 503,
    "filter_unavailable": 503,
}


class Refused(Exception):
    """A request that is refused. `code` is a key of STATUS; `retry_after` is in seconds."""

    def __init__(self, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.retry_after = code, message, retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def body(self) -> dict[str, Any]:
        """Return the JSON body."""
        return {"error": {"code": self.code, "message": self.message, "retry_after": self.retry_after}}


class HistoryUnavailable(Refused):
    """The history cannot be read or written now. `retry_after` is in seconds."""

    def __init__(self, detail: str, retry_after: int | None = None) -> None:
        message = f"the history cannot be reached now; try again ({detail})"
        super().__init__("history_unavailable", message, retry_after=retry_after)


class NotFound(Refused):
    """There is no such conversation or message of this person."""

    def __init__(self, what: str = "conversation") -> None:
        super().__init__("not_found", f"there is no such {what}; it may have been deleted")


class Changed(Refused):
    """The conversation has changed since it was read."""

    def __init__(self) -> None:
        super().__init__("changed", "the conversation was changed elsewhere; read it again")


class Conflict(Refused):
    """The id is taken by a message with other content."""

    def __init__(self) -> None:
        super().__init__("conflict", "another message has this id; send it with a new one")
