"""Long-running operations: polled by clients until they end."""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure_emulator.messages import RETRY_AFTER, Answer, AzureError

_ENDED = frozenset({"Succeeded", "Failed", "Canceled"})


@dataclass(frozen=True)
class Progress:
    """`Creating` and similar states count as running; `error` is for Failed, `result` for Succeeded."""

    state: str
    error: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


class Operations:
    """Operations under their ids."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: dict[str, Callable[[], Progress]] = {}

    def start(self, progress: Callable[[], Progress]) -> str:
        id = str(uuid.uuid4())
        with self._lock:
            self._all[id] = progress
        return id

    def poll(self, id: str) -> Answer:
        """Return the operation's status as Azure-AsyncOperation addresses show it."""
        with self._lock:
            progress = self._all.get(id.lower())
        if progress is None:
            raise AzureError(404, "OperationNotFound", f"The operation '{id}' was not found.")
        now = progress()
        body: dict[str, Any] = {"name": id, "status": now.state if now.state in _ENDED else "InProgress"}
        if now.error:
            body["error"] = now.error
        if now.result is not None:
            body["properties"] = now.result
        return Answer(body, 200, RETRY_AFTER)

    def headers(self, id: str, subscription: str, provider: str, kind: str, api_version: str) -> dict[str, str]:
        """Return the headers with the polling address."""
        address = (
            f"https://management.azure.com/subscriptions/{subscription}/providers/{provider}"
            f"/locations/eastus2/{kind}/{id}?api-version={api_version}"
        )
        return {"Azure-AsyncOperation": address, **RETRY_AFTER}
