"""A deployment takes over from another: made beside it without traffic, asked, tried with a share, then alone.

Whatever happens on the way, the old one has all the traffic until the new one is proven; and wherever a run dies, the
next one begins by looking at what Azure has, and ends with one deployment.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.backends.azure.canary import Questions
from phi_assets.backends.azure.deployment_spec import WantedDeployment
from phi_assets.backends.azure.endpoint import LOG_LINES, OnlineEndpoint
from phi_assets.backends.azure.endpoint_state import EndpointState
from phi_assets.backends.ports import BackendError, Log

SECRET = re.compile(r"(?i)(bearer\s+|key['\"]?\s*[=:]\s*['\"]?|sig=)[\w.~+/=%-]{12,}")
# Pulling the image and mounting the model need roles of the identity's, which may still be on their way.
LACKS_ROLE = re.compile(r"(?i)authorization error|AuthorizationFailed|AuthorizationPermissionMismatch")
ROLE_WAIT = 30.0


class DeploymentFailed(BackendError):
    """The new deployment was not good; it is gone, and the traffic is where it was."""


class NotGood(BackendError):
    """Why a deployment must not serve."""

    def __init__(self, words: str) -> None:
        super().__init__(description=words)


def reached(step: str) -> None:
    """A place where a run may die; tests have it die there."""
    del step


@dataclass(frozen=True)
class Trial:
    """How a new deployment is tried: a share in per cent, for so many seconds; then the old one's last answers end."""

    share: int
    seconds: float
    drain_seconds: float


class BlueGreen:
    """One change of the endpoint to the wanted deployment. Nobody else may change the endpoint meanwhile."""

    def __init__(self, endpoint: OnlineEndpoint, auth: str, wanted: WantedDeployment, trial: Trial, log: Log) -> None:
        self.endpoint, self.auth, self.wanted, self.trial, self.log = endpoint, auth, wanted, trial, log
        self.name = wanted.name
        self.still_alone: Callable[[], None] = lambda: None

    def is_done(self, state: EndpointState | None) -> bool:
        """Whether the wanted deployment serves, alone, with all the traffic."""
        return (
            state is not None
            and state.traffic == {self.name: 100}
            and list(state.deployments) == [self.name]
            and state.deployments[self.name].serves
        )

    def run(self, body: Mapping[str, Any], still_alone: Callable[[], None]) -> None:
        """The wanted deployment serves alone. Raises DeploymentFailed; then what served before serves.

        `still_alone` raises when somebody else may be changing the endpoint: then nothing is written any more.
        """
        self.still_alone = still_alone
        state = self._required()
        if self.is_done(state):
            return
        old = self._old(state)
        self._sweep(state, old)
        reached("swept")
        try:
            self._make(body)
            reached("made")
            questions = self._tested()
            reached("tested")
            if old:
                self._try(old, questions)
                reached("tried")
            self._share({self.name: 100})
            reached("all traffic")
            questions.watch(self.trial.drain_seconds if old else 0.0, lambda: self._require({self.name: 100}))
            reached("proven")
        except BaseException as e:
            self._roll_back(old, e)
            raise
        for other in self._required().deployments:
            if other != self.name:
                self.log(f"deleting {other}")
                self.endpoint.remove(other)
        reached("alone")

    def _old(self, state: EndpointState) -> str | None:
        """Whom the new one takes over from: who has most of the traffic, or had it before a run died."""
        if state.live and state.live.name != self.name:
            return state.live.name
        others = [each.name for each in state.deployments.values() if each.serves and each.name != self.name]
        return max(others, default=None) if state.live else None

    def _sweep(self, state: EndpointState, old: str | None) -> None:
        """What a run that died left behind is gone; what has been begun of the wanted deployment is taken up."""
        kept = {old, self.name}
        if old and state.live and state.live.name == old and set(state.traffic) - kept:
            self.log(f"an earlier deployment was cut short: {old} gets all the traffic back")
            self._share({old: 100})
        for each in state.deployments.values():
            if each.name not in kept or (each.name == self.name and not each.serves):
                self.log(f"deleting {each.name}, which is {each.state.lower()} and was left behind")
                self._without_traffic(each.name, old)
                self.endpoint.remove(each.name)

    def _make(self, body: Mapping[str, Any]) -> None:
        found = self._required().deployments.get(self.name)
        if found and found.serves:
            self.log(f"{self.name} is there already; testing it")
            return
        model, began = self.wanted.model, time.monotonic()
        self.log(f"making {self.name} ({model.name}:{model.version}) without traffic; it takes some ten minutes")
        while True:
            written = self.endpoint.put_deployment(self.name, body)
            made = written.state.deployments.get(self.name)
            if made and made.serves:
                return
            reason = self.endpoint.reason(written)
            late = time.monotonic() - began + ROLE_WAIT > self.endpoint.role_minutes * 60
            if late or not LACKS_ROLE.search(reason):
                raise NotGood(f"it is {made.state.lower() if made else 'gone'}: {reason}")
            self.log(
                f"a role of the endpoint's identity has not taken effect yet; again in {ROLE_WAIT:.0f} s: {reason}"
            )
            self.endpoint.remove(self.name)
            time.sleep(ROLE_WAIT)

    def _tested(self) -> Questions:
        self.log(f"{self.name} is ready; asking it before it takes traffic")
        model = self.wanted.model
        questions = Questions(
            self._required().address,
            lambda: self.endpoint.key(self.auth),
            self.name,
            model.name,
            model.version,
            self.log,
        )
        questions.smoke_test()
        return questions

    def _try(self, old: str, questions: Questions) -> None:
        share = {old: 100 - self.trial.share, self.name: self.trial.share}
        if self._required().traffic.get(self.name, 0) > self.trial.share:
            return  # a run that died had tried it already
        self._share(share)
        reached("a share")
        questions.watch(self.trial.seconds, lambda: self._require(share))

    def _share(self, traffic: Mapping[str, int]) -> None:
        if self._required().traffic == dict(traffic):
            return
        self.still_alone()
        written = self.endpoint.put(self.auth, traffic)
        if written.state.traffic != dict(traffic):
            raise NotGood(f"the traffic could not be changed: {self.endpoint.reason(written)}")
        self.log("traffic: " + (", ".join(f"{share}% {name}" for name, share in traffic.items()) or "none"))

    def _require(self, traffic: Mapping[str, int]) -> None:
        state = self._required()
        if state.traffic != dict(traffic):
            raise NotGood(f"somebody else changed the traffic to {dict(state.traffic)}; run again when they are done")
        if not state.deployments[self.name].serves:
            raise NotGood(f"it is {state.deployments[self.name].state.lower()}")

    def _roll_back(self, old: str | None, error: BaseException) -> None:
        """Traffic as before, and no new deployment. Raises DeploymentFailed; returns for an interruption."""
        keeps = f"{old} keeps the traffic" if old else "nothing was deployed before"
        words = ""
        stopped = not isinstance(error, Exception) or isinstance(error, dg.DagsterExecutionInterruptedError)
        try:
            self.still_alone()
            # Who stops a run does not wait for what Azure is doing: the next one takes it up.
            state = self.endpoint.read() if stopped else self._required()
            if state and state.at_rest and self.name in state.deployments:
                self.log(f"{self.name} is not good: {_first_line(error)}")
                self._without_traffic(self.name, old)
                words = self.endpoint.logs(self.name)
                self.endpoint.remove(self.name)
        except Exception as e:
            keeps = f"it could not be taken away ({_first_line(e)}): the next run will"
        if not stopped:
            said = f"{self.name} was not good, {keeps}: {_first_line(error)}"
            told = f"\nIts last words:\n{masked(words)}" if words else ""
            raise DeploymentFailed(
                description=f"{said}{told}",
                metadata={"portal": dg.MetadataValue.url(self.endpoint.portal)},
                allow_retries=False,
            ) from error

    def _without_traffic(self, name: str, old: str | None) -> None:
        if self._required().traffic.get(name):
            self._share({old: 100} if old and old != name else {})

    def _required(self) -> EndpointState:
        state = self.endpoint.at_rest()
        if state is None:
            raise BackendError(
                description=f"endpoint {self.endpoint.name} is gone; materialise online_endpoint, and run again"
            )
        return state


def masked(words: str) -> str:
    """The last lines of a log, without what looks like a secret."""
    return SECRET.sub(r"\1***", "\n".join(words.splitlines()[-LOG_LINES:]))


def _first_line(error: BaseException) -> str:
    description = getattr(error, "description", None) or str(error) or type(error).__name__
    return masked(str(description).strip())
