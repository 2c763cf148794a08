"""The endpoint's connection: in the workspace for Studio, and in this home for flows that run here."""

from pathlib import Path
from urllib.parse import urlsplit

from phi_assets.backends.azure.chat.workspace_connection import WorkspaceConnection
from phi_assets.backends.azure.client.azure_errors import refused, status_of
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import say
from phi_assets.backends.azure.serving.endpoint import keys_of
from phi_assets.ports.chat import ConnectionStore
from phi_assets.prompt_flow.connections import (
    CONNECTION,
    TOKEN,
    LocalConnections,
    StoredConnection,
    fingerprint,
    key_to_keep,
)
from phi_assets.records import Connection, Endpoint


class AzureConnectionStore(ConnectionStore):
    """Two connections that say the same; with Entra tokens neither holds a secret."""

    account: dict[str, str]
    state: str
    role_minutes: float = 30.0

    def connect(self, endpoint: Endpoint, key: str) -> Connection:
        kept = key_to_keep(endpoint.auth, key)
        wanted = StoredConnection(CONNECTION, endpoint.address, endpoint.auth, fingerprint(kept))
        self._workspace.ensure(wanted, kept, self.role_minutes)
        self._home.ensure(CONNECTION, endpoint.address, key, endpoint.auth)
        return _record(wanted)

    def find(self, digest: str) -> Connection | None:
        """Both connections say what the digest says, with the key that the endpoint has now."""
        stored, _ = self._look(digest)
        return _record(stored) if stored else None

    def why_gone(self, digest: str) -> str:
        _, reason = self._look(digest)
        return reason or super().why_gone(digest)

    def _look(self, digest: str) -> tuple[StoredConnection | None, str]:
        """What is stored alike in both places, or else what is wrong; what costs least is asked first."""
        try:
            stored = self._in_workspace()
            live = self._live_fingerprint(stored) if stored else ""
        except NotDeployed:
            return None, "the workspace is not deployed from here"
        if stored is None:
            return None, f"the workspace has no connection {CONNECTION} that Prompt flow can use"
        if stored.digest != digest:
            return None, f"the workspace's connection {CONNECTION} was changed"
        if live != stored.key_fingerprint:
            return None, "the endpoint's key was changed" if live else "the endpoint is gone, or takes no keys any more"
        if self._home.find(CONNECTION) != stored:
            return None, f"this home has no connection {CONNECTION} with the same address and key"
        return stored, ""

    def _in_workspace(self) -> StoredConnection | None:
        from azure.core.exceptions import HttpResponseError

        try:
            return self._workspace.read()
        except HttpResponseError as e:
            raise refused(f"reading the workspace's connection {CONNECTION}", e) from e

    def _live_fingerprint(self, stored: StoredConnection) -> str:
        """Of the key that the endpoint takes now; empty when it takes none."""
        from azure.core.exceptions import HttpResponseError

        if stored.auth == TOKEN:
            return stored.key_fingerprint
        name = (urlsplit(stored.address).hostname or "").partition(".")[0]
        endpoint = f"{self._clients.resource('ml_workspace')}/onlineEndpoints/{name}"
        try:
            return fingerprint(keys_of(self._clients, endpoint, say)[0])
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
