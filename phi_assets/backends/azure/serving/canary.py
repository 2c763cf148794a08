"""Questions of our own that a deployment must answer right while it is tried."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from phi_assets import endpoint_client
from phi_assets.backends.azure.client import credential
from phi_assets.endpoint_client import Answer, NoAnswer
from phi_assets.ports.base import Log
from phi_assets.redaction import masked

T = TypeVar("T")

SECONDS_BETWEEN = 2.0
WORD_EVERY = 30.0
LEAST = 3  # right answers by name, however short the trial
# The order in which a batch is summed may turn one greedy word under load: only what is wrong again is wrong.
STRIKES = 2
# A full house, or an address that is not reached, says nothing of the deployment; for longer it does not prove itself.
UNANSWERED_SECONDS = 180.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0
NOT_LET_IN = frozenset({401, 403})
ROLE = "AzureML Data Scientist"  # the least common one with onlineEndpoints/score/action


@dataclass
class Questions:
    """Asks one deployment, and the endpoint as anybody does.

    `fetch_key` is asked again when the key was rotated. With Entra tokens, `role_minutes` is how long a role that lets
    them in is waited for; a key needs none.
    """

    address: str
    fetch_key: Callable[[], str]
    deployment: str
    model_name: str
    model_version: str
    log: Log
    role_minutes: float = 0.0
    expected: str = field(default="", init=False)
    wrong: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0}, init=False)  # in a row; by name or not
    keys: list[str] = field(default_factory=list[str], init=False, repr=False)

    def smoke_test(self) -> None:
        """The deployment has proven itself before anybody else asks it. Raises NoAnswer."""

        def test(key: str) -> str:
            return endpoint_client.smoke_test(self.address, key, self.deployment, self.model_name, self.model_version)

        began, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                self.expected = self._with_key(test)
                return
            except NoAnswer as e:
                if not e.passes or time.monotonic() - began + wait > UNANSWERED_SECONDS:
                    raise
                self._say(f"not answered yet: {e}")
            time.sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)

    def watch(self, seconds: float, healthy: Callable[[], None]) -> None:
        """For so long every answer was right; `healthy` raises when the endpoint is not as it should be.

        At least LEAST answers by name were right, and the last was. Raises NoAnswer for an answer of this deployment
        that is wrong, or missing for longer than UNANSWERED_SECONDS. What another does is not its fault.
        """
        began = spoken = answered = time.monotonic()
        asked = right = 0
        last = False
        self.wrong = dict.fromkeys((True, False), 0)
        # The last word is a right one: who has just answered wrongly is asked once more.
        while right < LEAST or not last or any(self.wrong.values()) or time.monotonic() - began < seconds:
            if asked:
                time.sleep(min(SECONDS_BETWEEN, max(seconds, 0.0)))
            last = self._ask(pinned=True)
            self._ask(pinned=False)
            healthy()
            asked += 1
            now = time.monotonic()
            right, answered = (right + 1, now) if last else (right, answered)
            if now - answered > UNANSWERED_SECONDS or now - began > seconds + UNANSWERED_SECONDS:
                told = f"for {(now - answered) / 60:.1f} minutes; {right} of {asked} questions by name were answered"
                raise NoAnswer(f"deployment {self.deployment} did not answer right {told}", None, self.deployment)
            if now - spoken > WORD_EVERY:
                self.log(f"{self.deployment}: {right} questions answered right, {(now - began) / 60:.1f} minutes")
                spoken = now

    def _ask(self, *, pinned: bool) -> bool:
        """Whether this deployment answered right. Raises NoAnswer when it answered wrong again, or with an error."""
        pin = self.deployment if pinned else None
        messages = [{"role": "user", "content": endpoint_client.QUESTION}]

        def ask(key: str) -> Answer:
            return endpoint_client.chat(
                self.address, key, messages, deployment=pin, max_new_tokens=endpoint_client.FEW_TOKENS
            )

        try:
            answer = self._with_key(ask)
        except NoAnswer as e:
            # Who does not say his name may be the old one.
            if not e.passes and (pinned or e.deployment == self.deployment):
                raise
            self._say(f"{e.deployment or 'the endpoint'} did not answer: {e}")
            return False
        if not pinned and answer.deployment != self.deployment:
            return False
        endpoint_client.require_from(answer, self.deployment, self.model_name, self.model_version)
        if answer.text == self.expected:
            self.wrong[pinned] = 0
            return True
        self.wrong[pinned] += 1
        if self.wrong[pinned] >= STRIKES:
            raise NoAnswer(
                f"deployment {self.deployment} answered {answer.text[:80]!r}, and {self.expected[:80]!r} when it was "
                "tested: greedy answers must be equal",
                None,
                self.deployment,
            )
        return False

    def _with_key(self, ask: Callable[[str], T]) -> T:
        """What `ask` returns, with a key that was fetched anew when the endpoint did not know it any more.

        A token that is not let in is waited with: its role may be on its way. Raises NoAnswer, which names the role.
        """
        began, wait, spoken = time.monotonic(), FIRST_WAIT, float("-inf")
        self.keys = self.keys or [self.fetch_key()]
        fetched = False
        while True:
            try:
                return ask(self.keys[-1])
            except NoAnswer as e:
                now = time.monotonic()
                if e.status not in NOT_LET_IN or (fetched and not self.role_minutes):
                    raise
                if fetched and now - began + wait > self.role_minutes * 60:
                    raise NoAnswer(self._not_let_in(e, (now - began) / 60), e.status, e.deployment) from None
                if fetched and now - spoken >= WORD_EVERY:
                    self._say(f"the role {ROLE} has not taken effect yet; {(now - began) / 60:.1f} minutes so far: {e}")
                    spoken = now
            if fetched:
                time.sleep(wait)
                wait = min(wait * 1.5, LONGEST_WAIT)
            if self.role_minutes:
                credential.forget()
            self.keys.append(self.fetch_key())
            fetched = True

    def _not_let_in(self, error: NoAnswer, minutes: float) -> str:
        return (
            f"whoever is signed in may not ask the endpoint, waited {minutes:.0f} minutes (PHI_AZURE_ROLE_MINUTES): "
            f"{error}. Give them the role {ROLE} on the workspace: az role assignment create --role '{ROLE}'"
        )

    def _say(self, words: str) -> None:
        self.log(masked(words, self.keys))
