"""Logs a line of progress at least every few seconds, also during one long step."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 8.0


class Progress:
    """The current step and its progress; logs a line when it changes, and again after `quiet_seconds` without one."""

    def __init__(self, log: Callable[[str], None], quiet_seconds: float = SECONDS_BETWEEN_LINES) -> None:
        self._log = log
        self._quiet = quiet_seconds
        self._lock = threading.Lock()
        self._step = ""
        self._began = self._logged_at = time.monotonic()

    def begin(self, step: str) -> None:
        """Start a new step."""
        with self._lock:
            self._step, self._began = step, time.monotonic()
            self._write(step)

    def done(self, count: int, total: int) -> None:
        """Report the progress of the step; logged only after a pause or at its end."""
        with self._lock:
            if count == total or time.monotonic() - self._logged_at >= self._quiet / 2:
                self._write(f"{self._step}: {count} of {total}")

    def repeat_if_quiet(self) -> None:
        """Log the current step again when nothing was logged for `quiet_seconds`."""
        with self._lock:
            if time.monotonic() - self._logged_at >= self._quiet:
                self._write(f"{self._step}: {time.monotonic() - self._began:.0f} s so far")

    def _write(self, line: str) -> None:
        self._logged_at = time.monotonic()
        self._log(line)


@contextmanager
def heartbeat(progress: Progress, every: float = 1.0) -> Iterator[None]:
    """Call `repeat_if_quiet` every `every` seconds inside the context."""
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
