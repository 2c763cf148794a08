"""The endpoint's connection in this home's Prompt flow."""

from pathlib import Path
from typing import ClassVar

from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import ConnectionStore
from phi_assets.prompt_flow.connections import CONNECTION, LocalConnections
from phi_assets.records import Connection, Endpoint


class LocalConnectionStore(ConnectionStore):
    """Connections stored by Prompt flow's own client, with keys encrypted at rest."""

    decides: ClassVar = {
        "endpoint_connection": Decides(programs=("phi_assets/prompt_flow/connect_child.py",)),
    }
    state: str

    def connect(self, endpoint: Endpoint, key: str, log: Log = no_log) -> Connection:
        digest = self._connections.ensure(CONNECTION, endpoint.address, key, log=log)
        return Connection(digest=digest, name=CONNECTION, address=endpoint.address)

    def find(self, digest: str) -> Connection | None:
        found = self._connections.find(CONNECTION)
        if found is None or found.digest != digest:
            return None
        return Connection(digest=digest, name=found.name, address=found.address)

    @property
    def _connections(self) -> LocalConnections:
        return LocalConnections(Path(self.state))
