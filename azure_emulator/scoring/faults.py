"""Injected faults of deployments: slow start, never ready, crash, or wrong answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Kind = Literal["never_ready", "crash", "wrong_answer", "slow"]
KINDS: tuple[Kind, ...] = ("never_ready", "crash", "wrong_answer", "slow")


@dataclass(frozen=True)
class Fault:
    """`after_requests` or `seconds` is when a `crash` happens; `seconds` is the delay of `slow`.

    `routed_only`: pinned requests do not count, so the crash happens once the deployment has traffic.
    """

    kind: Kind
    seconds: float = 0.0
    after_requests: int | None = None
    routed_only: bool = False
    text: str = ""


class DeploymentFaults:
    """Planned faults: by deployment name, or for the next new deployment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, Fault] = {}
        self._next: list[Fault] = []

    def plan(self, fault: Fault, deployment: str | None) -> None:
        with self._lock:
            if deployment:
                self._named[deployment.lower()] = fault
            else:
                self._next.append(fault)

    def draw(self, deployment: str) -> Fault | None:
        """Return the fault of a deployment that is created now, or None."""
        with self._lock:
            found = self._named.get(deployment.lower())
            return found or (self._next.pop(0) if self._next else None)

    def clear(self) -> None:
        with self._lock:
            self._named.clear()
            self._next.clear()
