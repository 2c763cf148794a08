"""Role-based access: who may do what at which scope, and from when on."""

import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from azure_emulator.resource_manager.builtin_roles import role_of


@dataclass(frozen=True)
class Assignment:
    """A role given to a principal at a scope; it counts from `effective` on, in monotonic seconds."""

    id: str
    oid: str
    role: str
    scope: str
    effective: float


class Authorization:
    """All role assignments. `delay` is how many seconds a new one takes to arrive, as on Azure it may be minutes."""

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self._assignments: dict[str, Assignment] = {}
        self._lock = threading.Lock()

    def give(self, id: str, oid: str, role: str, scope: str, delay: float | None = None) -> Assignment:
        """An assignment under the id. The same id, principal, role and scope again keeps its effective time."""
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
        """The assignment gone, at once."""
        with self._lock:
            self._assignments.pop(id.lower(), None)

    def all(self) -> list[Assignment]:
        with self._lock:
            return list(self._assignments.values())

    def same(self, oid: str, role: str, scope: str) -> Assignment | None:
        """Another assignment of the role to the principal at this very scope."""
        guid = role.rstrip("/").rsplit("/", 1)[-1].lower()
        wanted = (oid.lower(), guid, scope.rstrip("/").lower())
        return next((a for a in self.all() if (a.oid, a.role, a.scope) == wanted), None)

    def allows(self, oid: str, action: str, scope: str, data: bool = False) -> bool:
        """Whether a role in effect at the scope or above it lets the principal do the action."""
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
