"""Questions of our own that a deployment must answer right while it is tried."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from phi_assets import scoring
from phi_assets.backends.ports import Log
from phi_assets.scoring import Answer, NoAnswer

T = TypeVar("T")

SECONDS_BETWEEN = 2.0
WORD_EVERY = 30.0
LEAST = 3  # questions of each kind, however short the trial
# The order in which a batch is summed may turn one greedy word under load: only what is wrong again is wrong.
STRIKES = 2


@dataclass
class Questions:
    """Asks one deployment, and the endpoint as anybody does. `fetch_key` is asked again when the key was rotated."""

    address: str
    fetch_key: Callable[[], str]
    deployment: str
    model_name: str
    model_version: str
    log: Log
    expected: str = field(default="", init=False)
    wrong: int = field(default=0, init=False)
    key: str = field(default="", init=False, repr=False)

    def smoke_test(self) -> None:
        """The deployment has proven itself before anybody else asks it. Raises NoAnswer."""

        def test(key: str) -> str:
            return scoring.smoke_test(self.address, key, self.deployment, self.model_name, self.model_version)

        self.expected = self._with_key(test)

    def watch(self, seconds: float, healthy: Callable[[], None]) -> None:
        """For so long every answer was right; `healthy` raises when the endpoint is not as it should be.

        Raises NoAnswer for an answer of this deployment that is missing or wrong. What another does is not its fault.
        """
        began = spoken = time.monotonic()
        asked = 0
        while asked < LEAST or time.monotonic() - began < seconds:
            if asked:
                time.sleep(min(SECONDS_BETWEEN, max(seconds, 0.0)))
            self._ask(pinned=True)
            self._ask(pinned=False)
            healthy()
            asked += 1
            now = time.monotonic()
            if now - spoken > WORD_EVERY:
                self.log(f"{self.deployment}: {2 * asked} questions answered right, {(now - began) / 60:.1f} minutes")
                spoken = now
        if self.wrong:
            raise NoAnswer(f"deployment {self.deployment} answered wrongly at last", None, self.deployment)

    def _ask(self, *, pinned: bool) -> None:
        pin = self.deployment if pinned else None
        messages = [{"role": "user", "content": scoring.QUESTION}]

        def ask(key: str) -> Answer:
            return scoring.chat(self.address, key, messages, deployment=pin, max_new_tokens=scoring.FEW_TOKENS)

        try:
            answer = self._with_key(ask)
        except NoAnswer as e:
            if e.status == 429:
                self.log(f"the endpoint is full: {e}")
            elif pinned or e.deployment in ("", self.deployment):
                raise
            else:
                self.log(f"{e.deployment} did not answer: {e}")
            return
        if not pinned and answer.deployment != self.deployment:
            return
        scoring.require_from(answer, self.deployment, self.model_name, self.model_version)
        if answer.text == self.expected:
            self.wrong = 0
            return
        self.wrong += 1
        if self.wrong >= STRIKES:
            raise NoAnswer(
                f"deployment {self.deployment} answered {answer.text[:80]!r}, and {self.expected[:80]!r} when it was "
                "tested: greedy answers must be equal",
                None,
                self.deployment,
            )

    def _with_key(self, ask: Callable[[str], T]) -> T:
        """What `ask` returns, with a key that was fetched anew when the endpoint did not know it any more."""
        self.key = self.key or self.fetch_key()
        try:
            return ask(self.key)
        except NoAnswer as e:
            if e.status != 401:
                raise
            self.key = self.fetch_key()
            return ask(self.key)
