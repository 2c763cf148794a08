"""Scaled time: what takes Azure minutes takes seconds here, by a factor that tests set."""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_LOG = logging.getLogger(__name__)


class Clock:
    """Runs delayed actions in one thread. Scale 0 makes everything instant; at 1, operations take a few seconds."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        threading.Thread(target=self._run, name="azure-clock", daemon=True).start()

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """Run the action after `seconds` times the scale."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds * self.scale, next(self._order), action))
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    self._changed.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if self._closed:
                    return
                _, _, action = heapq.heappop(self._due)
            try:
                action()
            except Exception:
                _LOG.exception("a delayed action failed")
