"""Reads and writes one online endpoint and its deployments through Azure Resource Manager.

Written through the REST API, because azure-ai-ml polls each write in a thread that ends at the first lost response, and
cannot re-attach to a write that an earlier run began.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets.backends.azure.client import portal_links, rest
from phi_assets.backends.azure.client.azure_errors import (
    AzureRefused,
    cause_with_remedy,
    code_of,
    codes,
    is_busy,
    refused,
)
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.client.names import endpoint_name
from phi_assets.backends.azure.client.retry import PollTimer, with_retries
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.backends.azure.serving.state import AUTH, ENDED, NOTHING, PROVEN, EndpointState, state_of
from phi_assets.ports.base import Log

VERSION = rest.WORKSPACES_VERSION
MINUTES = 90.0
FIRST_POLL, LONGEST_POLL = 0.5, 10.0
MAX_POLLS = 3  # after a write whose operation cannot be read: Azure may show the previous state for a moment
SCORING_SCOPE = "https://ml.azure.com/.default"
LOG_LINES = 50
KEY_ROLE_MINUTES = 0.5  # short, because a user may be waiting at the terminal


@dataclass(frozen=True)
class Written:
    """The state after a write, and the URL of its operation: empty without a request, UNKNOWN without a URL."""

    state: EndpointState
    operation: str


UNKNOWN = "unknown"
QUOTA_SHORTAGE = re.compile(r"Not enough quota available[^\"\\\\]*?Additional needed: \d+")


def keys_of(clients: AzureClients, endpoint_id: str, log: Log) -> list[str]:
    """The primary and the secondary key of an endpoint. Raises HttpResponseError and GaveUp."""
    request = partial(clients.send, "POST", f"{endpoint_id}/listKeys?api-version={VERSION}")
    reply = with_retries(f"reading the key of {endpoint_id.rpartition('/')[2]}", request, log).json()
    return [str(reply["primaryKey"]), str(reply.get("secondaryKey") or "")]


class OnlineEndpoint:
    """The account's endpoint. Every write waits until no other is in progress, and is polled until it ends."""

    def __init__(self, clients: AzureClients, log: Log, role_minutes: float) -> None:
        self.clients, self.log, self.role_minutes = clients, log, role_minutes
        # Raises when another run may be changing the endpoint, so that nothing more is written.
        self.still_alone: Callable[[], None] = lambda: None
        self.name = endpoint_name(clients.account)
        self.id = f"{clients.resource('ml_workspace')}/onlineEndpoints/{self.name}"

    @property
    def portal(self) -> str:
        return portal_links.studio(self.clients.resource("ml_workspace"), f"endpoints/realtime/{self.name}/detail")

    def read(self) -> EndpointState | None:
        """The current state; None when the endpoint does not exist."""
        found = rest.get_or_none(self.clients, self.id, VERSION)
        if found is None:
            return None
        rows = rest.rows_if_any(self.clients, "the deployments", f"{self.id}/deployments", self.log, VERSION)
        return state_of(found, rows)

    def at_rest(self, waiting: PollTimer | None = None) -> EndpointState | None:
        """Wait until no write is in progress, and return the state. Raises GaveUp after MINUTES."""
        waiting = waiting or self._waiting(f"endpoint {self.name}")
        while True:
            found = self.read()
            if found is None or found.at_rest:
                return found
            waiting.pause(found.doing, self._remedy)

    def put(self, auth: str, traffic: Mapping[str, int], proven: str = "") -> Written:
        """Create or update the endpoint with this authentication mode and traffic: per cent that add to 100, or empty.

        The tag PROVEN is set to the deployment `proven`, or removed when that is empty.
        """
        body = {
            "location": self.clients.account.location,
            "tags": {**self.tags, **({PROVEN: proven} if proven else {})},
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": {self.clients.resource("managed_identity"): {}},
            },
            "properties": {"authMode": AUTH[auth], "traffic": dict(traffic), "publicNetworkAccess": "Enabled"},
        }

        def done(state: EndpointState | None) -> bool:
            if state is None or state.traffic != dict(traffic) or state.tags.get(PROVEN, "") != proven:
                return False
            return self.is_as_wanted(state, auth)

        return self._write(f"updating endpoint {self.name}", "PUT", self.id, body, done)

    def is_as_wanted(self, state: EndpointState, auth: str) -> bool:
        """Whether the endpoint serves with this authentication mode and this project's tags."""
        return state.state == "Succeeded" and state.auth == auth and self.tags.items() <= dict(state.tags).items()

    def put_deployment(self, name: str, body: Mapping[str, Any]) -> Written:
        """Create the deployment of this name with this body, and wait until it serves or has failed."""

        def done(state: EndpointState | None) -> bool:
            return state is not None and name in state.deployments and state.deployments[name].serves

        return self._write(f"creating deployment {name}", "PUT", f"{self.id}/deployments/{name}", body, done)

    def remove(self, name: str) -> None:
        """Delete the deployment of this name, which must have no traffic. Raises AzureRefused when it still exists."""

        def done(state: EndpointState | None) -> bool:
            return state is None or name not in state.deployments

        written = self._write(f"deleting deployment {name}", "DELETE", f"{self.id}/deployments/{name}", None, done)
        if not done(written.state):
            raise AzureRefused(
                description=f"deployment {name} could not be deleted: {self.reason(written)}; delete it in the portal, "
                f"{self.portal}, and run again",
                allow_retries=False,
            )

    def logs(self, name: str) -> str:
        """The last lines of the deployment's container log, or the reason why they could not be read."""
        from azure.core.exceptions import AzureError

        body = {"containerType": "InferenceServer", "tail": LOG_LINES}
        address = f"{self.id}/deployments/{name}/getLogs?api-version={VERSION}"
        request = partial(self.clients.send, "POST", address, body)
        try:
            reply = with_retries("reading the deployment's log", request, self.log).json()
            return str(reply.get("content") or "").strip()
        except AzureError as e:
            return f"its log could not be read: {code_of(e) or type(e).__name__}"

    def key(self, auth: str) -> str:
        """The bearer credential of a request: the primary key, or a token of the signed-in principal."""
        if auth == "aad_token":
            return self.clients.credential().get_token_info(SCORING_SCOPE).token
        return self.keys()[0]

    def keys(self) -> list[str]:
        """The primary and the secondary key. Raises AzureRefused, also when the endpoint is deleted or takes no
        keys.
        """
        from azure.core.exceptions import HttpResponseError

        what, minutes = f"reading the key of endpoint {self.name}", min(KEY_ROLE_MINUTES, self.role_minutes)
        try:
            return wait_for_role(lambda: keys_of(self.clients, self.id, self.log), what, self.log, minutes)
        except HttpResponseError as e:
            raise refused(what, e) from e

    @property
    def tags(self) -> dict[str, str]:
        return {"azd-env-name": self.clients.account.name}

    def _write(
        self,
        what: str,
        verb: str,
        id: str,
        body: Mapping[str, Any] | None,
        done: Callable[[EndpointState | None], bool],
    ) -> Written:
        """Send one write, and poll until `done` holds for the state or the operation ended. Raises AzureRefused,
        GaveUp.

        The state is read before each request, because a write whose response was lost may have taken effect.
        """
        from azure.core.exceptions import HttpResponseError

        def send() -> Any:
            self.still_alone()
            return self.clients.send(verb, f"{id}?api-version={VERSION}", body)

        waiting, operation, polls = self._waiting(what), "", 0
        while True:
            # The operation first: a state that is read after its end is its result.
            status = self._operation(operation).get("status") if operation else "not sent"
            state = self.at_rest(waiting)
            polls += status is None
            if done(state) or status in ENDED or polls >= MAX_POLLS:
                return Written(state or NOTHING, operation)
            doing = "the change is not visible yet"
            if not operation:
                try:
                    response = wait_for_role(send, what, self.log, self.role_minutes)
                    operation = response.headers.get("Azure-AsyncOperation") or UNKNOWN
                except HttpResponseError as e:
                    if not is_busy(e):
                        raise _refused(what, e) from e
                    doing = cause_with_remedy(codes(e))
            waiting.pause(doing, self._remedy)

    def _waiting(self, what: str) -> PollTimer:
        return PollTimer(what, self.log, MINUTES, FIRST_POLL, LONGEST_POLL)

    @property
    def _remedy(self) -> str:
        return f"see {self.portal}, and run again: the next run continues with the write that is in progress"

    def reason(self, written: Written) -> str:
        """Why a write failed, as Azure reports it."""
        error = self._operation(written.operation).get("error") or {}
        if not error.get("message"):
            return f"Azure gave no reason; see {self.portal}"
        return f"{error['message']} ({error.get('code')})"

    def _operation(self, operation: str) -> Mapping[str, Any]:
        """The status of an operation; empty when it is unknown or cannot be read."""
        from azure.core.exceptions import HttpResponseError

        if operation in ("", UNKNOWN):
            return {}
        try:
            return with_retries("reading the operation's status", lambda: self.clients.get(operation), self.log)
        except (HttpResponseError, ValueError):
            return {}


def _refused(what: str, error: Exception) -> AzureRefused:
    """The error to raise. Azure names the missing quota deep inside nested JSON texts, which are searched for it."""
    texts = [str(error), *(message for _, message in codes(error))]
    shortage = next((found for text in texts if (found := QUOTA_SHORTAGE.search(text))), None)
    if shortage is None:
        return refused(what, error)
    return AzureRefused(
        description=f"{what}: {shortage[0]}. An endpoint needs quota for its old and its new deployment: request more, "
        f"{portal_links.quota()}, or choose another PHI_AZURE_ENDPOINT_VM_SIZE, and run again",
        allow_retries=False,
    )
