"""Log of all requests to the local Azure: service, verb, path, caller and status."""

import collections
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

_WRITES = frozenset({"PUT", "PATCH", "DELETE", "POST"})
# POSTs that change nothing: Azure uses POST for reads with a secret or long response.
_READING_POSTS = (
    "/listkeys",
    "/listsecrets",
    "/whatif",
    "/validate",
    "/rundata",
    "/listaccountsas",
    "/batchgetresolveduris",
    "/checknameavailability",
    "/exporttemplate",
    "/getlogs",
    "/token",
)


@dataclass(frozen=True)
class Record:
    """One request; `fault` names the injected fault, if any."""

    service: str
    verb: str
    path: str
    query: str
    identity: str
    status: int
    fault: str = ""
    at: float = 0.0

    @property
    def writes(self) -> bool:
        return self.verb in _WRITES and self.service != "scoring" and not self.path.lower().endswith(_READING_POSTS)


class RequestLog:
    """The last hundred thousand requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: collections.deque[Record] = collections.deque(maxlen=100_000)

    def add(
        self, service: str, verb: str, path: str, identity: str, status: int, query: str = "", fault: str = ""
    ) -> None:
        with self._lock:
            self._records.append(Record(service, verb, path, query, identity, status, fault, time.time()))

    def clear(self) -> None:
        with self._lock:
            self._records.clear()

    def find(
        self,
        service: str | None = None,
        verb: str | None = None,
        identity: str | None = None,
        match: str | None = None,
        writes_only: bool = False,
    ) -> list[dict[str, Any]]:
        """Return the matching requests, oldest first; `match` is a part of the path, ignoring case."""
        with self._lock:
            records = list(self._records)
        return [
            {**asdict(r), "writes": r.writes}
            for r in records
            if (service is None or r.service == service)
            and (verb is None or r.verb == verb.upper())
            and (identity is None or r.identity == identity)
            and (match is None or match.lower() in r.path.lower())
            and (not writes_only or r.writes)
        ]
