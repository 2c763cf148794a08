"""Test questions that a deployment must answer correctly during its trial."""

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
LOG_SECONDS = 30.0
MINIMUM = 3  # correct pinned answers, however short the trial
# The order of summation in a batch may change one greedy token under load: only repeated wrong answers count.
MAX_WRONG = 2
# An overloaded or unreachable endpoint is no evidence against the deployment, but for longer than this it is not
# proven.
UNANSWERED_SECONDS = 180.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0
UNAUTHORIZED = frozenset({401, 403})
ROLE = "AzureML Data Scientist"  # the built-in role with the fewest rights that has onlineEndpoints/score/action


@dataclass
class Questions:
    """Sends test questions to one deployment by name, and to the endpoint as any client does.

    `fetch_key` is called again after a key rotation. With Entra tokens, `role_minutes` is how long to wait for the role
    that allows them; a key needs no role. The endpoint ends a request after `request_seconds`.
    """

    address: str
    fetch_key: Callable[[], str]
    deployment: str
    model_name: str
    model_version: str
    log: Log
    role_minutes: float = 0.0
    request_seconds: float | None = None
    expected: str = field(default="", init=False)
    wrong: dict[bool, int] = field(
        default_factory=lambda: {True: 0, False: 0}, init=False
    )  # consecutive wrong answers, by `pinned`
    keys: list[str] = field(default_factory=list[str], init=False, repr=False)

    def smoke_test(self) -> None:
        """Test the deployment before it gets traffic, and record the expected answer. Raises NoAnswer."""

        def test(key: str) -> str:
            return endpoint_client.smoke_test(
                self.address,
                key,
                self.deployment,
                self.model_name,
                self.model_version,
                request_seconds=self.request_seconds,
            )

        began, wait = time.monotonic(), FIRST_WAIT
        while True:
            try:
                self.expected = self._with_key(test)
                return
            except NoAnswer as e:
                if not e.passes or time.monotonic() - began + wait > UNANSWERED_SECONDS:
                    raise
                self._log(f"no answer yet: {e}")
            time.sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)

    def watch(self, seconds: float, healthy: Callable[[], None]) -> None:
        """Ask questions for this many seconds; `healthy` raises when the endpoint is not in the expected state.

        Ends after at least MINIMUM correct pinned answers, the last one correct. Raises NoAnswer for answers of this
        deployment that are wrong, or missing for longer than UNANSWERED_SECONDS. Errors of another deployment are
        ignored.
        """
        began = logged = answered = time.monotonic()
        asked = correct = 0
        last = False
        self.wrong = dict.fromkeys((True, False), 0)
        # End on a correct answer: after a wrong one the deployment is asked once more.
        while correct < MINIMUM or not last or any(self.wrong.values()) or time.monotonic() - began < seconds:
            if asked:
                time.sleep(min(SECONDS_BETWEEN, max(seconds, 0.0)))
            last = self._ask(pinned=True)
            self._ask(pinned=False)
            healthy()
            asked += 1
            now = time.monotonic()
            correct, answered = (correct + 1, now) if last else (correct, answered)
            if now - answered > UNANSWERED_SECONDS or now - began > seconds + UNANSWERED_SECONDS:
                report = f"for {(now - answered) / 60:.1f} minutes; {correct} of {asked} pinned questions were answered"
                raise NoAnswer(f"deployment {self.deployment} gave no correct answer {report}", None, self.deployment)
            if now - logged > LOG_SECONDS:
                self.log(f"{self.deployment}: {correct} correct answers, {(now - began) / 60:.1f} minutes so far")
                logged = now

    def _ask(self, *, pinned: bool) -> bool:
        """Whether this deployment answered correctly. Raises NoAnswer for a repeated wrong answer, or for an error.

        `pinned`: the question names the deployment, instead of following the traffic.
        """
        pin = self.deployment if pinned else None
        messages = [{"role": "user", "content": endpoint_client.QUESTION}]

        def ask(key: str) -> Answer:
            return endpoint_client.chat(
                self.address, key, messages, deployment=pin, max_new_tokens=endpoint_client.FEW_TOKENS
            )

        try:
            answer = self._with_key(ask)
        except NoAnswer as e:
            # An answer without a deployment's name may come from the old deployment.
            if not e.passes and (pinned or e.deployment == self.deployment):
                raise
            self._log(f"{e.deployment or 'the endpoint'} did not answer: {e}")
            return False
        if not pinned and answer.deployment != self.deployment:
            return False
        endpoint_client.require_from(answer, self.deployment, self.model_name, self.model_version)
        if answer.text == self.expected:
            self.wrong[pinned] = 0
            return True
        self.wrong[pinned] += 1
        if self.wrong[pinned] >= MAX_WRONG:
            raise NoAnswer(
                f"deployment {self.deployment} answered {answer.text[:80]!r}, but {self.expected[:80]!r} in the smoke "
                "test: greedy answers must be equal",
                None,
                self.deployment,
            )
        return False

    def _with_key(self, ask: Callable[[str], T]) -> T:
        """Return the result of `ask`, called with the endpoint's key, which is fetched again when it is rejected.

        A rejected token is retried, because its role may be propagating. Raises NoAnswer, which names the role.
        """
        began, wait, logged = time.monotonic(), FIRST_WAIT, float("-inf")
        self.keys = self.keys or [self.fetch_key()]
        fetched = False
        while True:
            try:
                return ask(self.keys[-1])
            except NoAnswer as e:
                now = time.monotonic()
                if e.status not in UNAUTHORIZED or (fetched and not self.role_minutes):
                    raise
                if fetched and now - began + wait > self.role_minutes * 60:
                    raise NoAnswer(self._unauthorized(e, (now - began) / 60), e.status, e.deployment) from None
                if fetched and now - logged >= LOG_SECONDS:
                    self._log(f"the role {ROLE} has not taken effect yet; {(now - began) / 60:.1f} minutes so far: {e}")
                    logged = now
            if fetched:
                time.sleep(wait)
                wait = min(wait * 1.5, LONGEST_WAIT)
            if self.role_minutes:
                credential.forget()
            self.keys.append(self.fetch_key())
            fetched = True

    def _unauthorized(self, error: NoAnswer, minutes: float) -> str:
        return (
            f"the signed-in principal may not query the endpoint, waited {minutes:.0f} minutes "
            f"(PHI_AZURE_ROLE_MINUTES): {error}. Assign it the role {ROLE} on the "
            f"workspace: az role assignment create --role '{ROLE}'"
        )

    def _log(self, message: str) -> None:
        self.log(masked(message, self.keys))
