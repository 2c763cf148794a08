"""Request, response and error of every emulated service, in Azure's format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Retry-After 0 makes the SDK wait 30 s, so the local Azure always says 1.
RETRY_AFTER = {"Retry-After": "1"}


@dataclass(frozen=True)
class Call:
    """One request with its parsed body and its authenticated caller."""

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    oid: str = ""
    size: int = 0  # bytes of the body

    @property
    def api_version(self) -> str:
        return self.query.get("api-version", "")


@dataclass(frozen=True)
class Answer:
    """One response; None is an empty body."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class AzureError(Exception):
    """An error response with Azure's status, code and message."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []
        self.headers = dict(headers or {})
        self.target = target

    def as_json(self) -> dict[str, Any]:
        """Return the object under `error`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target:
            body["target"] = self.target
        if self.details:
            body["details"] = self.details
        return body

    def answer(self) -> Answer:
        return Answer({"error": self.as_json()}, self.status, self.headers)


def not_found(id: str) -> AzureError:
    return AzureError(404, "ResourceNotFound", f"The Resource '{id}' was not found.")


def object_of(call: Call) -> dict[str, Any]:
    """Return the call's body. Raises AzureError (400) if it is not a JSON object."""
    if not isinstance(call.body, dict):
        raise AzureError(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
    return call.body


def merged(old: Any, new: Any) -> Any:
    """Return `old` patched with `new`: objects are merged by key, other values replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new


async def read_body(receive: Any) -> bytes:
    """Return the whole body of an ASGI request."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
