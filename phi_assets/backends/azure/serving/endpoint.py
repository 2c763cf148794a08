"""One online endpoint with its deployments, as Resource Manager shows and takes them.

Written by its interface itself: azure-ai-ml's own calls follow each write in a thread of theirs, which ends for good at
the first answer that is lost.
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
LOOKS = 3  # at what Azure shows after a write of which it says nothing: it may show what was before for a moment
SCORING_SCOPE = "https://ml.azure.com/.default"
LOG_LINES = 50
KEY_ROLE_MINUTES = 0.5  # a person who asks a question waits for it


@dataclass(frozen=True)
class Written:
    """What a write led to, and where Azure says how it went: nowhere, when its answer was lost."""

    state: EndpointState
    operation: str


UNKNOWN = "unknown"
SHORT = re.compile(r"Not enough quota available[^\"\\\\]*?Additional needed: \d+")


def keys_of(clients: AzureClients, endpoint_id: str, log: Log) -> list[str]:
    """The primary key of an endpoint, and the secondary one. Raises HttpResponseError, and GaveUp."""
    ask = partial(clients.send, "POST", f"{endpoint_id}/listKeys?api-version={VERSION}")
    told = with_retries(f"reading the key of {endpoint_id.rpartition('/')[2]}", ask, log).json()
    return [str(told["primaryKey"]), str(told.get("secondaryKey") or "")]


class OnlineEndpoint:
    """The account's endpoint. Every write waits until none other is under way, and is followed to its end."""

    def __init__(self, clients: AzureClients, log: Log, role_minutes: float) -> None:
        self.clients, self.log, self.role_minutes = clients, log, role_minutes
        # Raises when somebody else may be changing the endpoint: then nothing is written any more.
        self.still_alone: Callable[[], None] = lambda: None
        self.name = endpoint_name(clients.account)
        self.id = f"{clients.resource('ml_workspace')}/onlineEndpoints/{self.name}"

    @property
    def portal(self) -> str:
        return portal_links.studio(self.clients.resource("ml_workspace"), f"endpoints/realtime/{self.name}/detail")

    def read(self) -> EndpointState | None:
        """What is there now; None when there is no endpoint."""
        found = rest.get_or_none(self.clients, self.id, VERSION)
        if found is None:
            return None
        rows = rest.rows_if_any(self.clients, "the deployments", f"{self.id}/deployments", self.log, VERSION)
        return state_of(found, rows)

    def at_rest(self, waiting: PollTimer | None = None) -> EndpointState | None:
        """What is there once no write is under way. Raises GaveUp when that takes over MINUTES."""
        waiting = waiting or self._waiting(f"endpoint {self.name}")
        while True:
            found = self.read()
            if found is None or found.at_rest:
                return found
            waiting.pause(found.doing, self._look)

    def put(self, auth: str, traffic: Mapping[str, int], proven: str = "") -> Written:
        """The endpoint has this way in and this traffic, whole numbers of per cent that add to 100, or none.

        Its tag says which deployment is proven; none where that is empty.
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
            same = state is not None and state.traffic == dict(traffic) and state.tags.get(PROVEN, "") == proven
            return same and state is not None and self.is_as_wanted(state, auth)

        return self._write(f"changing endpoint {self.name}", "PUT", self.id, body, done)

    def is_as_wanted(self, state: EndpointState, auth: str) -> bool:
        """Whether the endpoint serves, with this way in and our tags."""
        return state.state == "Succeeded" and state.auth == auth and self.tags.items() <= dict(state.tags).items()

    def put_deployment(self, name: str, body: Mapping[str, Any]) -> Written:
        """There is a deployment of this name that serves, made of this body, or one that failed."""

        def done(state: EndpointState | None) -> bool:
            return state is not None and name in state.deployments and state.deployments[name].serves

        return self._write(f"making deployment {name}", "PUT", f"{self.id}/deployments/{name}", body, done)

    def remove(self, name: str) -> None:
        """There is no deployment of this name, which must have no traffic. Raises AzureRefused when it stays."""

        def done(state: EndpointState | None) -> bool:
            return state is None or name not in state.deployments

        written = self._write(f"deleting deployment {name}", "DELETE", f"{self.id}/deployments/{name}", None, done)
        if not done(written.state):
            raise AzureRefused(
                description=f"deployment {name} is still there: {self.reason(written)}; delete it in the portal, "
                f"{self.portal}, and run again",
                allow_retries=False,
            )

    def logs(self, name: str) -> str:
        """The last lines that the deployment's container wrote; a word why not when Azure does not tell."""
        from azure.core.exceptions import AzureError

        body = {"containerType": "InferenceServer", "tail": LOG_LINES}
        address = f"{self.id}/deployments/{name}/getLogs?api-version={VERSION}"
        ask = partial(self.clients.send, "POST", address, body)
        try:
            told = with_retries("reading the deployment's log", ask, self.log).json()
            return str(told.get("content") or "").strip()
        except AzureError as e:
            return f"its log could not be read: {code_of(e) or type(e).__name__}"

    def key(self, auth: str) -> str:
        """What goes after `Bearer`: the primary key, or a token of whoever is signed in."""
        if auth == "aad_token":
            return self.clients.credential().get_token_info(SCORING_SCOPE).token
        return self.keys()[0]

    def keys(self) -> list[str]:
        """The primary key and the secondary one. Raises AzureRefused, also when the endpoint is gone or takes none."""
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
        """What `done` asks for has come to be, or Azure said that it failed. Raises AzureRefused, GaveUp.

        Asked for after each wait whether it is there: an answer that was lost may have been a yes.
        """
        from azure.core.exceptions import HttpResponseError

        def ask() -> Any:
            self.still_alone()
            return self.clients.send(verb, f"{id}?api-version={VERSION}", body)

        waiting, operation, looks = self._waiting(what), "", 0
        while True:
            # The operation first: what is read after its end is what it led to.
            status = self._told(operation).get("status") if operation else "not asked"
            state = self.at_rest(waiting)
            looks += status is None
            if done(state) or status in ENDED or looks >= LOOKS:
                return Written(state or NOTHING, operation)
            doing = "it is not seen yet"
            if not operation:
                try:
                    answer = wait_for_role(ask, what, self.log, self.role_minutes)
                    operation = answer.headers.get("Azure-AsyncOperation") or UNKNOWN
                except HttpResponseError as e:
                    if not is_busy(e):
                        raise _refused(what, e) from e
                    doing = cause_with_remedy(codes(e))
            waiting.pause(doing, self._look)

    def _waiting(self, what: str) -> PollTimer:
        return PollTimer(what, self.log, MINUTES, FIRST_POLL, LONGEST_POLL)

    @property
    def _look(self) -> str:
        return f"look at it, {self.portal}, and run again: what is under way will be taken up"

    def reason(self, written: Written) -> str:
        """Why a write failed, in Azure's words."""
        error = self._told(written.operation).get("error") or {}
        if not error.get("message"):
            return f"Azure did not tell why; look at {self.portal}"
        return f"{error['message']} ({error.get('code')})"

    def _told(self, operation: str) -> Mapping[str, Any]:
        """What Azure says of an operation; nothing when it says none."""
        from azure.core.exceptions import HttpResponseError

        if operation in ("", UNKNOWN):
            return {}
        try:
            return with_retries("reading how it went", lambda: self.clients.get(operation), self.log)
        except (HttpResponseError, ValueError):
            return {}


def _refused(what: str, error: Exception) -> AzureRefused:
    """The failure that a person reads. Azure says what quota is short deep within several texts of JSON."""
    short = SHORT.search(str(error)) or next((f for _, told in codes(error) if (f := SHORT.search(told))), None)
    if short is None:
        return refused(what, error)
    return AzureRefused(
        description=f"{what}: {short[0]}. An endpoint needs room for its old and its new deployment: ask for more, "
        f"{portal_links.quota()}, or choose another PHI_AZURE_ENDPOINT_VM_SIZE, and run again",
        allow_retries=False,
    )
