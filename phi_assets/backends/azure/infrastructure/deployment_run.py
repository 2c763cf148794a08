"""Submits one deployment at subscription scope, adopts it when its response was lost, and polls it until it ends.

Polled by hand: the SDK's poller runs in a thread that dies at the first lost response, and cannot re-attach to a
deployment that is in progress, after a crash or because another run submitted it.
"""

import time
from collections.abc import Mapping
from typing import Any

from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp, cause_with_remedy, code_of, refused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.outputs import Outputs
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.ports.base import Log

MINUTES = 60.0
FIRST_POLL, LONGEST_POLL = 1.0, 10.0
LOG_SECONDS = 30.0
ENDED = frozenset({"Succeeded", "Failed", "Canceled"})


class DeploymentRun:
    """The deployment of this name.

    `digest` is the template hash that identifies a deployment of the same content, and `person` the object id of the
    principal who gets roles by it: another person's deployment gave them to that one.
    """

    def __init__(self, clients: AzureClients, name: str, digest: str, person: str, log: Log) -> None:
        self.name = name
        self._clients = clients
        self._digest = digest
        self._person = person
        self._log = log

    def finished(self) -> Outputs | None:
        """The outputs of the last deployment, whoever made it, if it has our template hash and succeeded; else None."""
        last = self._get()
        same = last and _state(last) == "Succeeded" and _parameter(last, "templateHash") == self._digest
        return self._outputs(last) if same else None

    def make(self, body: Mapping[str, Any]) -> Outputs:
        """Deploy this body, and return the outputs. Raises AzureRefused with the innermost reason and its remedy."""
        before = self._get()
        if before and _state(before) not in ENDED:
            self._log(f"deployment {self.name} is already in progress; waiting for it")
            before = self._wait()
            if self._is_ours(before):
                return self._result(before)
        self._submit(body, before)
        return self._result(self._wait())

    def _submit(self, body: Mapping[str, Any], before: Any) -> None:
        from azure.core.exceptions import HttpResponseError

        submitted = False

        def submit() -> None:
            nonlocal submitted
            # After a lost response the deployment may have started, and a second one would be refused.
            if submitted and self._began_since(before):
                self._log(
                    f"deployment {self.name}: the response was lost, but the deployment has started; waiting for it"
                )
                return
            submitted = True
            self._clients.deployments().deployments.begin_create_or_update_at_subscription_scope(
                self.name,
                body,  # type: ignore[arg-type]
                polling=False,
                retry_total=0,
            )

        try:
            with_retries(f"deploying {self.name}", submit, self._log)
        except HttpResponseError as e:
            if code_of(e) == "DeploymentActive" and self._began_since(before):
                return
            raise refused(f"deploying {self.name} to {self._clients.account.location}", e) from e
        self._log(f"deploying {self.name} to {self._clients.account.location}; a first deployment takes minutes")

    def _began_since(self, before: Any) -> bool:
        now = self._get()
        return now is not None and self._is_ours(now) and (before is None or _marker(now) != _marker(before))

    def _wait(self) -> Any:
        began = logged = time.monotonic()
        pause = FIRST_POLL
        while True:
            found = self._get()
            if found is None:
                raise AzureRefused(
                    description=f"deployment {self.name} was deleted while it was in progress; run again"
                )
            if _state(found) in ENDED:
                return found
            now = time.monotonic()
            if now - began > MINUTES * 60:
                raise GaveUp(
                    description=f"deployment {self.name} is {_state(found)} after {MINUTES:g} minutes; see it in "
                    "the portal under the subscription's deployments, and run again: the next run waits for it"
                )
            if now - logged > LOG_SECONDS:
                self._log(f"deployment {self.name}: {_state(found)}, {(now - began) / 60:.1f} minutes so far")
                logged = now
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL)

    def _get(self) -> Any:
        from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

        deployments = self._clients.deployments().deployments
        try:
            return with_retries(
                f"reading deployment {self.name}", lambda: deployments.get_at_subscription_scope(self.name), self._log
            )
        except ResourceNotFoundError:
            return None
        except HttpResponseError as e:
            raise refused(f"reading deployment {self.name}", e) from e

    def _result(self, ended: Any) -> Outputs:
        if _state(ended) == "Succeeded":
            return self._outputs(ended)
        reasons = _errors(ended.properties.error.as_dict() if ended.properties.error else {})
        raise AzureRefused(
            description=f"deployment {self.name} to {self._clients.account.location} {_state(ended).lower()}: "
            f"{cause_with_remedy(reasons)}",
            allow_retries=False,
        )

    def _outputs(self, ended: Any) -> Outputs:
        values = {name: output["value"] for name, output in ended.properties.outputs.items()}
        return Outputs(self._digest, dict(values["resources"]), list(values["roleAssignments"]))

    def _is_ours(self, deployment: Any) -> bool:
        sent = _parameter(deployment, "templateHash"), _parameter(deployment, "principalId")
        return sent == (self._digest, self._person)


def _parameter(deployment: Any, name: str) -> Any:
    return ((deployment.properties.parameters or {}).get(name) or {}).get("value")


def _state(deployment: Any) -> str:
    state = deployment.properties.provisioning_state
    return str(getattr(state, "value", state))


def _marker(deployment: Any) -> tuple[Any, Any]:
    """A value that differs between two deployments of one name."""
    return deployment.properties.correlation_id, deployment.properties.timestamp


def _errors(error: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(code, message) of an error and of all its details, the outermost first."""
    pairs = [(str(error.get("code") or ""), str(error.get("message") or ""))] if error else []
    for detail in error.get("details") or []:
        pairs += _errors(detail)
    return pairs
