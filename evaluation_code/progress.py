"""A line of progress at least every few seconds, also while one long step is under way."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 8.0


class Progress:
    """What is being done now and how far it is; a line when it changes, and again when nothing was said for a while."""

    def __init__(self, log: Callable[[str], None], quiet_seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self._log = log
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._step = ""
        self._began = self._said = time.monotonic()

    def begin(self, step: str) -> None:
        """A new step has begun."""
        with self._lock:
            self._step, self._began = step, time.monotonic()
            self._say(step)

    def done(self, count: int, total: int) -> None:
        """How far the step is; said only when nothing was said for a while, or at its end."""
        with self._lock:
            if count == total or time.monotonic() - self._said >= self._quiet / 2:
                self._say(f"{self._step}: {count} of {total}")

    def repeat_if_quiet(self) -> None:
        """Say again what is being done when nothing was said for a while."""
        with self._lock:
            if time.monotonic() - self._said >= self._quiet:
                self._say(f"{self._step}: {time.monotonic() - self._began:.0f} s so far")

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._log(line)


@contextmanager
def heartbeat(progress: Progress, every: float = 1.0) -> Iterator[None]:
    """While inside, `progress` repeats itself whenever it has been quiet for too long."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(every):
            progress.repeat_if_quiet()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
