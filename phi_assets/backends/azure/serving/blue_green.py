"""Blue-green deployment: created without traffic, tested, tried with a share of the traffic, then given all of it.

The endpoint's tag names the deployment that was proven last. Until the new deployment is proven, every failure returns
all the traffic to the old one. Wherever a run dies, the next run starts from Azure's state, and ends with one
deployment.
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

# Pulling the image and mounting the model need roles of the identity, which may still be propagating.
LACKS_ROLE = re.compile(r"(?i)authorization error|AuthorizationFailed|AuthorizationPermissionMismatch")
ROLE_WAIT = 30.0


class DeploymentFailed(BackendError):
    """The new deployment failed and was deleted; the traffic is as before. The message names exceptions to this."""


class Unfit(BackendError):
    """The reason why a deployment must not serve."""

    def __init__(self, reason: str) -> None:
        super().__init__(description=reason)


def reached(step: str) -> None:
    """A point at which a run may die; tests replace this function to let it die there."""
    del step


@dataclass(frozen=True)
class Trial:
    """The trial of a new deployment: its share of the traffic in per cent, for how many seconds, and how many seconds
    the old deployment has afterwards for its last responses. The endpoint ends a request after `request_seconds`.
    """

    share: int
    seconds: float
    drain_seconds: float
    request_seconds: float | None = None


class BlueGreen:
    """One change of the endpoint to the wanted deployment. The caller must hold the lease on the endpoint."""

    def __init__(self, endpoint: OnlineEndpoint, auth: str, wanted: WantedDeployment, trial: Trial, log: Log) -> None:
        self.endpoint, self.auth, self.wanted, self.trial, self.log = endpoint, auth, wanted, trial, log
        self.name = wanted.name
        self.still_alone: Callable[[], None] = lambda: None
        self.questions: Questions | None = None
        self.mark = ""  # the value of the tag PROVEN until the wanted deployment is proven

    def is_done(self, state: EndpointState | None) -> bool:
        """Whether the wanted deployment is proven, serves all the traffic, and is the only one."""
        return state is not None and state.alone(self.name) and state.tags.get(PROVEN) == self.name

    def run(self, body: Mapping[str, Any], still_alone: Callable[[], None]) -> None:
        """Deploy, test and try the wanted deployment, and delete the others. Raises DeploymentFailed after a rollback.

        `still_alone` raises when another run may be changing the endpoint, so that nothing more is written.
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
            questions = self._test()
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
        """The deployment that keeps the traffic until another is proven: the proven one, else the one with the most
        traffic.

        A deployment without traffic that was never proven is a leftover, and gets none.
        """
        found = state.proven or state.busiest
        return found.name if found else None

    def _sweep(self, state: EndpointState, holder: str | None) -> None:
        """Delete what a run that died left behind, but not a wanted deployment that serves: the run continues with it.

        A deployment with traffic is not deleted, in any state: the new one takes over from it.
        """
        expected = {holder, self.name}
        if holder and state.deployments[holder].serves and set(state.traffic) - expected:
            self.log(f"an earlier run did not finish its deployment: {holder} gets all the traffic back")
            self._share({holder: 100}, self.mark)
            state = self._required()
        for each in state.deployments.values():
            leftover = each.name not in expected or (each.name == self.name and not each.serves)
            if leftover and not state.traffic.get(each.name):
                self.log(f"deleting {each.name}, a leftover of an earlier run: {each.state.lower()}")
                self.endpoint.remove(each.name)

    def _make(self, body: Mapping[str, Any]) -> None:
        found = self._required().deployments.get(self.name)
        if found and found.serves:
            self.log(f"{self.name} exists already; testing it")
            return
        model, began = self.wanted.model, time.monotonic()
        self.log(f"creating {self.name} ({model.name}:{model.version}) without traffic")
        while True:
            written = self.endpoint.put_deployment(self.name, body)
            created = written.state.deployments.get(self.name)
            if created and created.serves:
                return
            reason = self.endpoint.reason(written)
            late = time.monotonic() - began + ROLE_WAIT > self.endpoint.role_minutes * 60
            if late or written.state.traffic.get(self.name) or not LACKS_ROLE.search(reason):
                raise Unfit(f"it is {created.state.lower() if created else 'deleted'}: {reason}")
            missing_role = "a role of the endpoint's identity has not taken effect yet"
            self.log(f"{missing_role}; retrying in {ROLE_WAIT:.0f} s: {masked(reason)}")
            self.endpoint.remove(self.name)
            time.sleep(ROLE_WAIT)

    def _test(self) -> Questions:
        self.log(f"{self.name} is ready; testing it before it gets traffic")
        model = self.wanted.model
        self.questions = Questions(
            self._required().address,
            lambda: self.endpoint.key(self.auth),
            self.name,
            model.name,
            model.version,
            self.log,
            self.endpoint.role_minutes if self.auth == "aad_token" else 0.0,
            self.trial.request_seconds,
        )
        self.questions.smoke_test()
        return self.questions

    def _try(self, old: str | None, questions: Questions) -> None:
        state = self._required()
        if not old or state.traffic.get(self.name) == 100:
            return  # no deployment to share with, or an earlier run completed the trial
        if not state.deployments[old].serves:
            self.log(f"{old} is {state.deployments[old].state.lower()}, and cannot serve: {self.name} gets all traffic")
            return
        share = {old: 100 - self.trial.share, self.name: self.trial.share}
        self._share(share, self.mark)
        reached("a share")
        questions.watch(self.trial.seconds, lambda: self._require(share))

    def _share(self, traffic: Mapping[str, int], proven: str) -> None:
        """Set the endpoint's traffic and its tag PROVEN. Raises Unfit."""
        state = self._required()
        if state.traffic == dict(traffic) and state.tags.get(PROVEN, "") == proven:
            return
        written = self.endpoint.put(self.auth, traffic, proven)
        if written.state.traffic != dict(traffic):
            raise Unfit(f"the traffic could not be changed: {self.endpoint.reason(written)}")
        self.log("traffic: " + (", ".join(f"{share}% {name}" for name, share in traffic.items()) or "none"))

    def _require(self, traffic: Mapping[str, int]) -> None:
        state = self._required()
        if state.traffic != dict(traffic):
            raise Unfit(f"the traffic was changed to {dict(state.traffic)} by another client; run again later")
        if not state.deployments[self.name].serves:
            raise Unfit(f"it is {state.deployments[self.name].state.lower()}")

    def _roll_back(self, old: str | None, stays: bool, error: BaseException) -> None:
        """Restore the traffic and delete the new deployment, unless it `stays` because it held the traffic before.

        Raises DeploymentFailed; returns when the run was interrupted.
        """
        outcome = f"{old} keeps the traffic" if old else "nothing was deployed before"
        if stays:
            outcome = "it served before, and is unchanged"
        stopped = not isinstance(error, Exception) or isinstance(error, dg.DagsterExecutionInterruptedError)
        secrets = [] if stopped else self._secrets()
        container_log = ""
        try:
            self.still_alone()
            # A user who stops the run does not wait for a write in progress: the next run continues with it.
            state = self.endpoint.read() if stopped else self._required()
            if state and state.at_rest and self.name in state.deployments:
                self.log(f"{self.name} failed: {_first_line(error, secrets)}")
                container_log = "" if stopped else self.endpoint.logs(self.name)
                if not stays:
                    if state.traffic.get(self.name):
                        self._share({old: 100} if old else {}, self.mark)
                    self.endpoint.remove(self.name)
        except Exception as e:
            outcome = f"the rollback failed ({_first_line(e, secrets)}): the next run retries"
        if not stopped:
            failure = f"{self.name} failed; {outcome}: {_first_line(error, secrets)}"
            last = "\n".join(container_log.splitlines()[-LOG_LINES:])
            lines = f"\nThe last lines of its log:\n{masked(last, secrets)}" if container_log else ""
            # `from None`: the error and its causes may quote unmasked text of the container.
            raise DeploymentFailed(
                description=f"{failure}{lines}",
                metadata={"portal": dg.MetadataValue.url(self.endpoint.portal)},
                allow_retries=False,
            ) from None

    def _secrets(self) -> list[str]:
        """Every key that the container may have received, to be masked in messages."""
        known = list(self.questions.keys) if self.questions else []
        try:
            return known if self.auth == "aad_token" else [*known, *self.endpoint.keys()]
        except Exception:  # the original error is the one to report
            return known

    def _required(self) -> EndpointState:
        state = self.endpoint.at_rest()
        if state is None:
            raise BackendError(
                description=f"endpoint {self.endpoint.name} no longer exists; materialise online_endpoint, "
                "and run again"
            )
        return state


def _first_line(error: BaseException, secrets: Iterable[str]) -> str:
    description = getattr(error, "description", None) or str(error) or type(error).__name__
    return masked(str(description).strip(), secrets)
