"""The endpoint that models are served from."""

from abc import abstractmethod
from typing import Any

from phi_assets import records
from phi_assets.ports.base import Log, Port


class EndpointHost(Port):
    """A stable address with a key, and named deployments that share its traffic."""

    @abstractmethod
    def ensure_endpoint(self, log: Log) -> records.Endpoint:
        """The endpoint, made or started when it is missing. Never deletes a live one."""

    @abstractmethod
    def deploy(self, model: records.RegisteredModel, log: Log) -> records.Deployment:
        """The model behind the endpoint with all traffic; on failure the old deployment keeps it, and this raises."""

    @abstractmethod
    def key(self) -> str:
        """The endpoint's key, for the Authorization header."""

    @property
    def remedy(self) -> str:
        """What to do when the endpoint does not answer."""
        return "`phi run` makes it, or starts the servers again"

    @property
    def keeps_answers(self) -> bool:
        """Whether its servers keep what they answer in this home; else who asks has to."""
        return False

    @abstractmethod
    def start(self, log: Log) -> None:
        """Bring up what is recorded and not running; changes no record. Raises EndpointDown."""

    @abstractmethod
    def stop(self, log: Log) -> None:
        """End what runs; the record stays."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Address, deployments, their traffic, and whether they answer."""
