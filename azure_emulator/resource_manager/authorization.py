"""Role-based access control with propagation delay."""

import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from azure_emulator.resource_manager.builtin_roles import role_of


@dataclass(frozen=True)
class Assignment:
    """A role assignment; it takes effect at `effective`, in monotonic seconds."""

    id: str
    oid: str
    role: str
    scope: str
    effective: float


class Authorization:
    """All role assignments. `delay` is the propagation time of a new one in seconds; on Azure it may be minutes."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self._assignments: dict[str, Assignment] = {}
        self._lock = threading.Lock()

    def give(self, id: str, oid: str, role: str, scope: str, delay: float | None = None) -> Assignment:
        """Assign a role. An identical assignment keeps its effective time."""
        guid = role.rstrip("/").rsplit("/", 1)[-1].lower()
        wait = self.delay if delay is None else delay
        new = Assignment(id.lower(), oid.lower(), guid, scope.rstrip("/").lower(), time.monotonic() + wait)
        with self._lock:
            old = self._assignments.get(new.id)
            if old and (old.oid, old.role, old.scope) == (new.oid, new.role, new.scope):
                return old
            self._assignments[new.id] = new
        return new

    def take(self, id: str) -> None:
        """Remove the assignment at once."""
        with self._lock:
            self._assignments.pop(id.lower(), None)

    def all(self) -> list[Assignment]:
        with self._lock:
            return list(self._assignments.values())

    def same(self, oid: str, role: str, scope: str) -> Assignment | None:
        """Return an assignment of the role to the principal at exactly this scope, or None."""
        guid = role.rstrip("/").rsplit("/", 1)[-1].lower()
        wanted = (oid.lower(), guid, scope.rstrip("/").lower())
        return next((a for a in self.all() if (a.oid, a.role, a.scope) == wanted), None)

    def allows(self, oid: str, action: str, scope: str, data: bool = False) -> bool:
        """Return whether an effective role at the scope or above it allows the action."""
        now, place = time.monotonic(), scope.rstrip("/").lower()
        return any(
            _permits(assignment.role, action, data)
            for assignment in self.all()
            if assignment.oid == oid.lower() and assignment.effective <= now and _covers(assignment.scope, place)
        )


def _covers(scope: str, place: str) -> bool:
    return scope == "" or place == scope or place.startswith(f"{scope}/")


def _permits(role: str, action: str, data: bool) -> bool:
    definition = role_of(role)
    if data:
        return _matches(definition.data_actions, action)
    return _matches(definition.actions, action) and not _matches(definition.not_actions, action)


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(_pattern(pattern).fullmatch(action) for pattern in patterns)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(re.escape(pattern).replace(r"\*", ".*"), re.IGNORECASE)
