"""One wait for Azure: looks with growing pauses, a word to the log now and then, and an end to it."""

import time

from phi_assets.backends.azure.client.azure_errors import GaveUp
from phi_assets.ports.base import Log

WORD_EVERY = 30.0


class Waiting:
    """Begins when it is made. `what` is what is waited for."""

    def __init__(self, what: str, log: Log, minutes: float, first: float, longest: float) -> None:
        self.what, self.log, self.minutes = what, log, minutes
        self._pause, self._longest = first, longest
        self._said: set[str] = set()
        self._began = self._spoken = time.monotonic()

    def say(self, doing: str) -> None:
        """A word to the log, the first time that it is said."""
        if doing not in self._said:
            self._said.add(doing)
            self.log(f"{self.what}: {doing}")

    def pause(self, doing: str, cure: str = "run again") -> None:
        """Some time has passed. `doing` is why it is waited for. Raises GaveUp, with that and the cure, at the end."""
        now = time.monotonic()
        waited = (now - self._began) / 60
        if waited + self._pause / 60 > self.minutes:
            raise GaveUp(description=f"{self.what}: gave up after {self.minutes:g} minutes ({doing}); {cure}")
        if now - self._spoken >= WORD_EVERY:
            self.log(f"{self.what}: {doing}, {waited:.1f} minutes so far")
            self._spoken = now
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, self._longest)
