"""A deployment takes over from another: made beside it without traffic, asked, tried with a share, then alone.

Whatever happens on the way, the old one has all the traffic until the new one is proven; the endpoint's tag says who
was proven last. Wherever a run dies, the next one begins by looking at what Azure has, and ends with one deployment.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.backends.azure.serving.canary import Questions
from phi_assets.backends.azure.serving.deployment_spec import WantedDeployment
from phi_assets.backends.azure.serving.endpoint import LOG_LINES, OnlineEndpoint
from phi_assets.backends.azure.serving.state import PROVEN, EndpointState
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.redaction import masked

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
        self.questions: Questions | None = None
        self.mark = ""  # who is proven as long as the wanted one is not

    def is_done(self, state: EndpointState | None) -> bool:
        """Whether the wanted deployment serves, alone, with all the traffic, and was proven."""
        return state is not None and state.alone(self.name) and state.tags.get(PROVEN) == self.name

    def run(self, body: Mapping[str, Any], still_alone: Callable[[], None]) -> None:
        """The wanted deployment serves alone. Raises DeploymentFailed; then what served before serves.

        `still_alone` raises when somebody else may be changing the endpoint: then nothing is written any more.
        """
        self.still_alone = self.endpoint.still_alone = still_alone
        state = self._required()
        if self.is_done(state):
            return
        holder = self._holder(state)
        old = holder if holder != self.name else None
        self.mark = old or (state.proven.name if state.proven else "")
        self._sweep(state, holder)
        reached("swept")
        try:
            self._make(body)
            reached("made")
            questions = self._tested()
            reached("tested")
            self._try(old, questions)
            reached("tried")
            self._share({self.name: 100}, self.mark)
            reached("all traffic")
            questions.watch(self.trial.drain_seconds if old else 0.0, lambda: self._require({self.name: 100}))
            reached("proven")
            self._share({self.name: 100}, proven=self.name)
            reached("marked")
        except BaseException as e:
            self._roll_back(old, holder == self.name, e)
            raise
        for other in self._required().deployments:
            if other != self.name:
                self.log(f"deleting {other}")
                self.endpoint.remove(other)
        reached("alone")

    def _holder(self, state: EndpointState) -> str | None:
        """Whose the traffic is until another is proven: the proven one's, or else the one's that has most of it.

        Who has none of it, and was never proven, was left behind: it never gets any on account of being there.
        """
        found = state.proven or state.busiest
        return found.name if found else None

    def _sweep(self, state: EndpointState, holder: str | None) -> None:
        """What a run that died left behind is gone; what has been begun of the wanted deployment is taken up.

        What has traffic stays, whatever Azure says of it: the new one takes over from it.
        """
        kept = {holder, self.name}
        if holder and state.deployments[holder].serves and set(state.traffic) - kept:
            self.log(f"an earlier deployment was cut short: {holder} gets all the traffic back")
            self._share({holder: 100}, self.mark)
            state = self._required()
        for each in state.deployments.values():
            left = each.name not in kept or (each.name == self.name and not each.serves)
            if left and not state.traffic.get(each.name):
                self.log(f"deleting {each.name}, which is {each.state.lower()} and was left behind")
                self.endpoint.remove(each.name)

    def _make(self, body: Mapping[str, Any]) -> None:
        found = self._required().deployments.get(self.name)
        if found and found.serves:
            self.log(f"{self.name} is there already; testing it")
            return
        model, began = self.wanted.model, time.monotonic()
        self.log(f"making {self.name} ({model.name}:{model.version}) without traffic")
        while True:
            written = self.endpoint.put_deployment(self.name, body)
            made = written.state.deployments.get(self.name)
            if made and made.serves:
                return
            reason = self.endpoint.reason(written)
            late = time.monotonic() - began + ROLE_WAIT > self.endpoint.role_minutes * 60
            if late or written.state.traffic.get(self.name) or not LACKS_ROLE.search(reason):
                raise NotGood(f"it is {made.state.lower() if made else 'gone'}: {reason}")
            late_role = "a role of the endpoint's identity has not taken effect yet"
            self.log(f"{late_role}; again in {ROLE_WAIT:.0f} s: {masked(reason)}")
            self.endpoint.remove(self.name)
            time.sleep(ROLE_WAIT)

    def _tested(self) -> Questions:
        self.log(f"{self.name} is ready; asking it before it takes traffic")
        model = self.wanted.model
        self.questions = Questions(
            self._required().address,
            lambda: self.endpoint.key(self.auth),
            self.name,
            model.name,
            model.version,
            self.log,
            self.endpoint.role_minutes if self.auth == "aad_token" else 0.0,
        )
        self.questions.smoke_test()
        return self.questions

    def _try(self, old: str | None, questions: Questions) -> None:
        state = self._required()
        if not old or state.traffic.get(self.name) == 100:
            return  # nobody to share with, or a run that died had tried it already
        if not state.deployments[old].serves:
            self.log(f"{old} is {state.deployments[old].state.lower()}, and can get no share: {self.name} gets all")
            return
        share = {old: 100 - self.trial.share, self.name: self.trial.share}
        self._share(share, self.mark)
        reached("a share")
        questions.watch(self.trial.seconds, lambda: self._require(share))

    def _share(self, traffic: Mapping[str, int], proven: str) -> None:
        """The endpoint has this traffic, and its tag says who is proven. Raises NotGood."""
        state = self._required()
        if state.traffic == dict(traffic) and state.tags.get(PROVEN, "") == proven:
            return
        written = self.endpoint.put(self.auth, traffic, proven)
        if written.state.traffic != dict(traffic):
            raise NotGood(f"the traffic could not be changed: {self.endpoint.reason(written)}")
        self.log("traffic: " + (", ".join(f"{share}% {name}" for name, share in traffic.items()) or "none"))

    def _require(self, traffic: Mapping[str, int]) -> None:
        state = self._required()
        if state.traffic != dict(traffic):
            raise NotGood(f"somebody else changed the traffic to {dict(state.traffic)}; run again when they are done")
        if not state.deployments[self.name].serves:
            raise NotGood(f"it is {state.deployments[self.name].state.lower()}")

    def _roll_back(self, old: str | None, stays: bool, error: BaseException) -> None:
        """Traffic as before, and no new deployment, but one that `stays`: it had the traffic before, or was proven.

        Raises DeploymentFailed; returns for an interruption.
        """
        keeps = f"{old} keeps the traffic" if old else "nothing was deployed before"
        if stays:
            keeps = "it served before, and stays as it is"
        stopped = not isinstance(error, Exception) or isinstance(error, dg.DagsterExecutionInterruptedError)
        secrets = [] if stopped else self._secrets()
        words = ""
        try:
            self.still_alone()
            # Who stops a run does not wait for what Azure is doing: the next one takes it up.
            state = self.endpoint.read() if stopped else self._required()
            if state and state.at_rest and self.name in state.deployments:
                self.log(f"{self.name} is not good: {_first_line(error, secrets)}")
                words = "" if stopped else self.endpoint.logs(self.name)
                if not stays:
                    if state.traffic.get(self.name):
                        self._share({old: 100} if old else {}, self.mark)
                    self.endpoint.remove(self.name)
        except Exception as e:
            keeps = f"it could not be taken away ({_first_line(e, secrets)}): the next run will"
        if not stopped:
            said = f"{self.name} was not good, {keeps}: {_first_line(error, secrets)}"
            last = "\n".join(words.splitlines()[-LOG_LINES:])
            told = f"\nIts last words:\n{masked(last, secrets)}" if words else ""
            # Not from the error: its text, and that of what led to it, may quote what the container said.
            raise DeploymentFailed(
                description=f"{said}{told}",
                metadata={"portal": dg.MetadataValue.url(self.endpoint.portal)},
                allow_retries=False,
            ) from None

    def _secrets(self) -> list[str]:
        """Every key that the container may have seen."""
        known = list(self.questions.keys) if self.questions else []
        try:
            return known if self.auth == "aad_token" else [*known, *self.endpoint.keys()]
        except Exception:  # whatever failed before is what must be told
            return known

    def _required(self) -> EndpointState:
        state = self.endpoint.at_rest()
        if state is None:
            raise BackendError(
                description=f"endpoint {self.endpoint.name} is gone; materialise online_endpoint, and run again"
            )
        return state


def _first_line(error: BaseException, secrets: Iterable[str]) -> str:
    description = getattr(error, "description", None) or str(error) or type(error).__name__
    return masked(str(description).strip(), secrets)
