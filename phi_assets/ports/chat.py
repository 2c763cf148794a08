"""The chat flow and its connection to the endpoint."""

from abc import abstractmethod
from pathlib import Path

from phi_assets import records
from phi_assets.ports.base import Log, Port


class ConnectionStore(Port):
    """Prompt flow connections."""

    @abstractmethod
    def connect(self, endpoint: records.Endpoint, key: str) -> records.Connection:
        """A connection to the endpoint with its present key; with none where it takes Entra tokens."""


class FlowStore(Port):
    """Packaged chat flows, and batch runs over them."""

    @abstractmethod
    def package(self, connection: records.Connection, log: Log) -> records.FlowPackage:
        """The chat flow as a folder that answered a question, and one with history, at the live endpoint."""

    @abstractmethod
    def evaluate(
        self, package: records.FlowPackage, deployment: records.Deployment, questions: Path | None, log: Log
    ) -> records.FlowEvaluation:
        """A batch run of the flow over the questions. A failed row is a result, not an end."""
