"""Injected faults of calls (refused, slow, lost): at random from a seed, or for the next matching call."""

import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# timeout: nothing is done and no response is sent; dropped: the work is done and the response is lost;
# slow: the response is late; expired: refused as if the token had expired.
Kind = Literal["429", "503", "timeout", "dropped", "slow", "expired"]
KINDS: tuple[Kind, ...] = ("429", "503", "timeout", "dropped", "slow", "expired")


@dataclass
class _Next:
    match: str
    kind: Kind
    times: int
    after: int


class Faults:
    """Decides which fault a call gets. `hold_seconds` is how long a timed-out or slow call is held."""

    def __init__(self) -> None:
        self.hold_seconds = 3.0
        self._lock = threading.Lock()
        self._share = 0.0
        self._kinds: Sequence[Kind] = ()
        self._services: frozenset[str] = frozenset()
        self._random = random.Random(0)
        self._next: list[_Next] = []

    def fail_randomly(
        self,
        share: float,
        seed: int,
        kinds: Sequence[Kind] = ("429", "503", "timeout", "dropped"),
        services: Sequence[str] = ("arm", "ml", "quota", "history", "vault"),
    ) -> None:
        """Fail this share of the calls to these services from now on, in an order that the seed fixes."""
        _known(kinds)
        with self._lock:
            self._share, self._kinds, self._services = share, tuple(kinds), frozenset(services)
            self._random = random.Random(seed)

    def fail_next(self, match: str, kind: Kind, times: int = 1, after: int = 0) -> None:
        """Fail the next calls whose `VERB service path?query` contains the words of `match`, ignoring case.

        The first `after` of them are answered.
        """
        _known([kind])
        with self._lock:
            self._next.append(_Next(match, kind, times, after))

    def clear(self) -> None:
        with self._lock:
            self._share, self._next = 0.0, []

    def draw(self, service: str, verb: str, target: str) -> Kind | None:
        """Return the fault of this call, or None."""
        text = f"{verb} {service} {target}".lower()
        with self._lock:
            for waiting in self._next:
                if waiting.times > 0 and all(word in text for word in waiting.match.lower().split()):
                    if waiting.after > 0:
                        waiting.after -= 1
                        continue
                    waiting.times -= 1
                    return waiting.kind
            if self._share and service in self._services and self._random.random() < self._share:
                return self._random.choice(self._kinds)
        return None


def _known(kinds: Sequence[str]) -> None:
    wrong = [kind for kind in kinds if kind not in KINDS]
    if wrong:
        raise ValueError(f"unknown kinds of fault {wrong}; known are {list(KINDS)}")
