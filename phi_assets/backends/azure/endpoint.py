"""One online endpoint with its deployments, as Resource Manager shows and takes them.

Written by its interface itself: azure-ai-ml's own calls follow each write in a thread of theirs, which ends for good at
the first answer that is lost.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from phi_assets.backends.azure import listing, live_state, portal, unique_names
from phi_assets.backends.azure.account import AzureAccount
from phi_assets.backends.azure.clients import AzureClients
from phi_assets.backends.azure.endpoint_state import AUTH, ENDED, NOTHING, EndpointState, state_of
from phi_assets.backends.azure.errors import AzureRefused, GaveUp, code_of, codes, refused, status_of
from phi_assets.backends.azure.retrying import with_patience
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.ports import Log

VERSION = listing.WORKSPACES_VERSION
# Azure refuses a write while another on the same endpoint is under way; a lock and a policy are refused for good.
BUSY = frozenset({409, 412})
FOR_GOOD = frozenset({"ScopeLocked", "ReadOnlyDisabledSubscription"})
MINUTES = 90.0
FIRST_POLL, LONGEST_POLL = 0.5, 10.0
WORD_EVERY = 30.0
SCORING_SCOPE = "https://ml.azure.com/.default"
LOG_LINES = 50


@dataclass(frozen=True)
class Written:
    """What a write led to, and where Azure says how it went: nowhere, when its answer was lost."""

    state: EndpointState
    operation: str


UNKNOWN = "unknown"
SHORT = re.compile(r"Not enough quota available[^\"\\\\]*?Additional needed: \d+")


def name_of(account: AzureAccount) -> str:
    """The endpoint's name: it is part of an address, so no other account may have it in the region."""
    unique = unique_names.unique_string(account.subscription_id, account.name, account.location)
    return f"phi-{account.name[:18].rstrip('-')}-{unique[:8]}"


class OnlineEndpoint:
    """The account's endpoint. Every write waits until none other is under way, and is followed to its end."""

    def __init__(self, clients: AzureClients, log: Log, role_minutes: float) -> None:
        self.clients, self.log, self.role_minutes = clients, log, role_minutes
        self.name = name_of(clients.account)
        self.id = f"{clients.resource('ml_workspace')}/onlineEndpoints/{self.name}"

    @property
    def portal(self) -> str:
        return portal.studio(self.clients.resource("ml_workspace"), f"endpoints/realtime/{self.name}/detail")

    def read(self) -> EndpointState | None:
        """What is there now; None when there is no endpoint."""
        found = live_state.get_or_none(self.clients, self.id, VERSION)
        if found is None:
            return None
        rows = listing.rows_if_any(self.clients, "the deployments", f"{self.id}/deployments", self.log, VERSION)
        return state_of(found, rows)

    def at_rest(self) -> EndpointState | None:
        """What is there once no write is under way. Raises GaveUp when that takes over MINUTES."""
        began = spoken = time.monotonic()
        pause = FIRST_POLL
        while True:
            found = self.read()
            if found is None or found.at_rest:
                return found
            now = time.monotonic()
            if now - began > MINUTES * 60:
                raise GaveUp(
                    description=f"endpoint {self.name} is not at rest after {MINUTES:g} minutes ({found.doing}); "
                    f"look at it, {self.portal}, and run again: what is under way will be taken up"
                )
            if now - spoken > WORD_EVERY:
                self.log(f"endpoint {self.name}: {found.doing}, {(now - began) / 60:.1f} minutes so far")
                spoken = now
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL)

    def put(self, auth: str, traffic: Mapping[str, int]) -> Written:
        """The endpoint has this way in and this traffic, whole numbers of per cent that add to 100, or none."""
        body = {
            "location": self.clients.account.location,
            "tags": self.tags,
            "identity": {
                "type": "UserAssigned",
                "userAssignedIdentities": {self.clients.resource("managed_identity"): {}},
            },
            "properties": {"authMode": AUTH[auth], "traffic": dict(traffic), "publicNetworkAccess": "Enabled"},
        }

        def done(state: EndpointState | None) -> bool:
            return state is not None and self.is_as_wanted(state, auth) and state.traffic == dict(traffic)

        return self._write(f"changing endpoint {self.name}", "PUT", self.id, body, done)

    def is_as_wanted(self, state: EndpointState, auth: str) -> bool:
        """Whether the endpoint serves, with this way in and our tags."""
        return state.state == "Succeeded" and state.auth == auth and self.tags.items() <= dict(state.tags).items()

    def put_deployment(self, name: str, body: Mapping[str, Any]) -> Written:
        """There is a deployment of this name, made of this body, or one that failed."""

        def done(state: EndpointState | None) -> bool:
            return state is not None and name in state.deployments

        return self._write(f"making deployment {name}", "PUT", f"{self.id}/deployments/{name}", body, done)

    def remove(self, name: str) -> None:
        """There is no deployment of this name, which must have no traffic."""

        def done(state: EndpointState | None) -> bool:
            return state is None or name not in state.deployments

        self._write(f"deleting deployment {name}", "DELETE", f"{self.id}/deployments/{name}", None, done)

    def logs(self, name: str) -> str:
        """The last lines that the deployment's container wrote; a word why not when Azure does not tell."""
        from azure.core.exceptions import AzureError

        body = {"containerType": "InferenceServer", "tail": LOG_LINES}
        try:
            return str(self._post(f"{self.id}/deployments/{name}", "getLogs", body).get("content") or "").strip()
        except AzureError as e:
            return f"its log could not be read: {code_of(e) or type(e).__name__}"

    def key(self, auth: str) -> str:
        """What goes after `Bearer`: the primary key, or a token of whoever is signed in."""
        from azure.core.exceptions import HttpResponseError

        if auth == "aad_token":
            return self.clients.credential().get_token_info(SCORING_SCOPE).token
        what = f"reading the key of endpoint {self.name}"
        try:
            return str(wait_for_role(lambda: self._post(self.id, "listKeys"), what, self.log, 0.5)["primaryKey"])
        except HttpResponseError as e:
            raise refused(what, e) from e

    @property
    def tags(self) -> dict[str, str]:
        return {"azd-env-name": self.clients.account.name}

    def _post(self, id: str, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        ask = partial(self.clients.send, "POST", f"{id}/{action}?api-version={VERSION}", body)
        return with_patience(f"asking for {action}", ask, self.log).json()

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

        began, operation = time.monotonic(), ""
        while True:
            before = self.at_rest()
            if done(before) or (operation and self._told(operation).get("status") in {*ENDED, None}):
                return Written(before or NOTHING, operation)
            if operation:  # Azure shows what was before for a moment
                time.sleep(FIRST_POLL)
                continue
            try:
                ask = partial(self.clients.send, verb, f"{id}?api-version={VERSION}", body)
                answer = wait_for_role(ask, what, self.log, self.role_minutes)
                operation = answer.headers.get("Azure-AsyncOperation") or UNKNOWN
            except HttpResponseError as e:
                if status_of(e) not in BUSY or code_of(e) in FOR_GOOD:
                    raise _refused(what, e) from e
                if time.monotonic() - began > MINUTES * 60:
                    raise GaveUp(description=f"{what}: the endpoint was busy for {MINUTES:g} minutes; run again") from e
                time.sleep(FIRST_POLL)

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
            return with_patience("reading how it went", lambda: self.clients.get(operation), self.log)
        except (HttpResponseError, ValueError):
            return {}


def _refused(what: str, error: Exception) -> AzureRefused:
    """The failure that a person reads. Azure says what quota is short deep within several texts of JSON."""
    short = SHORT.search(str(error)) or next((f for _, told in codes(error) if (f := SHORT.search(told))), None)
    if short is None:
        return refused(what, error)
    return AzureRefused(
        description=f"{what}: {short[0]}. An endpoint needs room for its old and its new deployment: ask for more, "
        f"{portal.quota()}, or choose another PHI_AZURE_ENDPOINT_VM_SIZE, and run again",
        allow_retries=False,
    )
