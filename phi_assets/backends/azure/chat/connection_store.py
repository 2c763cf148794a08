"""Stores the endpoint's connection in the workspace, for Studio, and in this home, for flows that run locally."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.azure_errors import AzureRefused, refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run, with_retries
from phi_assets.backends.azure.client.role_delay import wait_for_role
from phi_assets.backends.azure.serving.endpoint import keys_of
from phi_assets.errors import BackendError
from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import ConnectionStore
from phi_assets.prompt_flow.connections import (
    CONNECTION,
    KEY,
    TOKEN,
    LocalConnections,
    StoredConnection,
    fingerprint,
    key_to_keep,
)
from phi_assets.records import Connection, Endpoint
from phi_assets.redaction import without

API_VERSION = "2025-12-01"
CUSTOM = "CustomKeys"
FOR_PROMPT_FLOW = {"azureml.flow.connection_type": "Custom", "azureml.flow.module": "promptflow.connections"}


@dataclass(frozen=True)
class WorkspaceConnection:
    """One named connection of the deployed workspace, which Studio and flows that run on Azure use.

    Written as plain JSON: azure-ai-ml has no entity for custom keys. Two metadata entries make Prompt flow read it as
    a CustomConnection (promptflow/core/_connection_provider); its other metadata are the connection's configs. Its
    authType is CustomKeys also where there is no key: Prompt flow cannot read a custom connection of authType AAD.
    """

    clients: AzureClients
    name: str

    def read(self, log: Log = log_to_run) -> StoredConnection | None:
        """The stored connection; None when there is none that Prompt flow can use. One request, which needs the right
        to list secrets. Raises NotDeployed.
        """
        return self.read_with_key(log)[0]

    def read_with_key(self, log: Log = log_to_run) -> tuple[StoredConnection | None, str]:
        """As `read`, and the key."""
        from azure.core.exceptions import HttpResponseError

        address = self._address("/listsecrets")
        try:
            reply = with_retries(self._doing("reading"), lambda: self.clients.send("POST", address), log)
        except HttpResponseError as e:
            if status_of(e) == 404:
                return None, ""
            raise
        properties = reply.json().get("properties") or {}
        return _stored(self.name, properties), str(_keys(properties).get("key", ""))

    def ensure(self, wanted: StoredConnection, key: str, role_minutes: float, log: Log = log_to_run) -> None:
        """Store the wanted connection unless it is stored already. Raises AzureRefused."""
        from azure.core.exceptions import HttpResponseError

        body = {"properties": _properties(wanted, key)}

        def write() -> None:
            # Read first at each attempt: after a lost response it may be stored.
            if self.read(log) == wanted:
                return
            try:
                self.clients.send("PUT", self._address(), body)
            except HttpResponseError as e:
                # Another run may have written it at the same time.
                if status_of(e) != 409 or self.read(log) != wanted:
                    raise

        try:
            wait_for_role(write, self._doing("writing"), log, role_minutes)
        # Azure may quote the refused body, which contains the key: mask it in the text, and drop the cause.
        except HttpResponseError as e:
            message = without(refused(self._doing("writing"), e).description or "", [key])
            raise AzureRefused(description=message, allow_retries=False) from None
        except BackendError as e:
            raise type(e)(description=without(e.description or "", [key]), allow_retries=e.allow_retries) from None

    def _address(self, rest: str = "") -> str:
        workspace = self.clients.resource("ml_workspace")
        return f"{workspace}/connections/{self.name}{rest}?api-version={API_VERSION}"

    def _doing(self, verb: str) -> str:
        return f"{verb} the workspace's connection {self.name}"


class AzureConnectionStore(ConnectionStore):
    """Two connections with the same content; with Entra tokens neither contains a secret."""

    decides: ClassVar = {
        "endpoint_connection": Decides(programs=("phi_assets/prompt_flow/connect_child.py",), settings=SUBSCRIPTION),
    }
    account: dict[str, str]
    state: str
    role_minutes: float = 30.0

    def connect(self, endpoint: Endpoint, key: str, log: Log = no_log) -> Connection:
        kept = key_to_keep(endpoint.auth, key)
        wanted = StoredConnection(CONNECTION, endpoint.address, endpoint.auth, fingerprint(kept))
        self._workspace.ensure(wanted, kept, self.role_minutes)
        self._home.ensure(CONNECTION, endpoint.address, key, endpoint.auth, log)
        return _record(wanted)

    def copy_to_home(self, log: Log) -> None:
        """Store the workspace's connection in this home, unless it is stored: flows that run here read it there."""
        stored, key = self._workspace.read_with_key(log)
        if stored and self._home.find(CONNECTION) != stored:
            self._home.ensure(CONNECTION, stored.address, key, stored.auth, log)

    def find(self, digest: str) -> Connection | None:
        """The connection, if it matches the digest and the endpoint's current key, and this home's copy; else None."""
        stored, _ = self._look(digest)
        return _record(stored) if stored else None

    def missing_reason(self, digest: str) -> str:
        _, reason = self._look(digest)
        return reason or super().missing_reason(digest)

    def _look(self, digest: str) -> tuple[StoredConnection | None, str]:
        """The connection if it matches, or None with the reason."""
        try:
            stored = self._in_workspace()
            live = self._live_fingerprint(stored) if stored else ""
        except NotDeployed:
            return None, "the workspace was not deployed"
        if stored is None:
            return None, f"the workspace has no connection {CONNECTION} that Prompt flow can use"
        if stored.digest != digest:
            return None, f"the workspace's connection {CONNECTION} was changed"
        if live != stored.key_fingerprint:
            return (
                None,
                "the endpoint's key was changed" if live else "the endpoint was deleted, or no longer takes keys",
            )
        if self._home.find(CONNECTION) not in (None, stored):  # None: another machine made it; copied when it is used
            return None, f"this home's connection {CONNECTION} has another address or key"
        return stored, ""

    def _in_workspace(self) -> StoredConnection | None:
        from azure.core.exceptions import HttpResponseError

        try:
            return self._workspace.read()
        except HttpResponseError as e:
            raise refused(f"reading the workspace's connection {CONNECTION}", e) from e

    def _live_fingerprint(self, stored: StoredConnection) -> str:
        """The fingerprint of the endpoint's current key; empty when it takes no keys."""
        from azure.core.exceptions import HttpResponseError

        if stored.auth == TOKEN:
            return stored.key_fingerprint
        name = (urlsplit(stored.address).hostname or "").partition(".")[0]
        endpoint = f"{self._clients.resource('ml_workspace')}/onlineEndpoints/{name}"
        try:
            return fingerprint(keys_of(self._clients, endpoint, log_to_run)[0])
        except HttpResponseError as e:
            if status_of(e) in (400, 404):
                return ""
            raise refused(f"reading the key of endpoint {name}", e) from e

    @property
    def _workspace(self) -> WorkspaceConnection:
        return WorkspaceConnection(self._clients, CONNECTION)

    @property
    def _home(self) -> LocalConnections:
        return LocalConnections(Path(self.state))

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)


def _record(stored: StoredConnection) -> Connection:
    return Connection(digest=stored.digest, name=stored.name, address=stored.address)


def _properties(wanted: StoredConnection, key: str) -> dict[str, Any]:
    return {
        "category": CUSTOM,
        "authType": CUSTOM,
        "target": wanted.address,
        "credentials": {"keys": {"key": key}},
        "metadata": {"address": wanted.address, "auth": wanted.auth, **FOR_PROMPT_FLOW},
    }


def _keys(properties: dict[str, Any]) -> dict[str, Any]:
    return (properties.get("credentials") or {}).get("keys") or {}


def _stored(name: str, properties: dict[str, Any]) -> StoredConnection | None:
    metadata, keys = properties.get("metadata") or {}, _keys(properties)
    usable = properties.get("category") == CUSTOM and FOR_PROMPT_FLOW.items() <= metadata.items()
    if not usable or "address" not in metadata or "key" not in keys or properties.get("target") != metadata["address"]:
        return None
    return StoredConnection(name, metadata["address"], metadata.get("auth", KEY), fingerprint(keys["key"]))
