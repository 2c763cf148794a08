"""The chat flow and its connection to the endpoint."""

from abc import abstractmethod
from pathlib import Path

from phi_assets import records
from phi_assets.ports.base import Log, Port, no_log


class ConnectionStore(Port):
    """Prompt flow connections."""

    @abstractmethod
    def connect(self, endpoint: records.Endpoint, key: str, log: Log = no_log) -> records.Connection:
        """Create or update the connection to the endpoint.

        It holds the current key, or none if the endpoint takes Entra tokens.
        """


class FlowStore(Port):
    """Packaged chat flows, and batch runs over them."""

    @abstractmethod
    def package(self, connection: records.Connection, log: Log) -> records.FlowPackage:
        """Package the chat flow as a folder.

        Before that it answers one question without and one with history at the live endpoint.
        """

    @abstractmethod
    def evaluate(
        self, package: records.FlowPackage, deployment: records.Deployment, questions: Path | None, log: Log
    ) -> records.FlowEvaluation:
        """Run the flow over all questions. A row that fails is part of the result and does not end the run."""
