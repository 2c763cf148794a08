"""Faults of deployments on demand: late, never ready, gone after a while, or answering nonsense."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal

Kind = Literal["never_ready", "crash", "wrong_answer", "slow"]
KINDS: tuple[Kind, ...] = ("never_ready", "crash", "wrong_answer", "slow")


@dataclass(frozen=True)
class Fault:
    """`after_requests` and `seconds` say when a `crash` comes, `seconds` how much longer a `slow` one takes.

    `routed_only`: requests pinned to the deployment do not count, so it falls once it has traffic.
    """

    kind: Kind
    seconds: float = 0.0
    after_requests: int | None = None
    routed_only: bool = False
    text: str = ""


class DeploymentFaults:
    """Which fault a deployment has: by its name, or the next one to be made."""

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
        """The fault of a deployment that is being made now."""
        with self._lock:
            found = self._named.get(deployment.lower())
            return found or (self._next.pop(0) if self._next else None)

    def clear(self) -> None:
        with self._lock:
            self._named.clear()
            self._next.clear()
