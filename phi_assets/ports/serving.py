"""The scoring endpoint that serves models."""

from abc import abstractmethod
from typing import Any

from phi_assets import records
from phi_assets.ports.base import Log, Port, StepContext


class EndpointHost(Port):
    """An endpoint with a stable address, and named deployments that share its traffic."""

    @abstractmethod
    def ensure_endpoint(self, log: Log) -> records.Endpoint:
        """Return the endpoint; create or start it if necessary. Never deletes a live one."""

    @abstractmethod
    def deploy(
        self, model: records.RegisteredModel, log: Log, optimized: records.OptimizedModel | None = None
    ) -> records.Deployment:
        """Deploy the model, in the form that `optimized` names, and move all traffic to it.

        If that fails, the old deployment keeps the traffic, and this raises.
        """

    @abstractmethod
    def key(self) -> str:
        """Return the endpoint's key for the Authorization header."""

    @property
    @abstractmethod
    def remedy(self) -> str:
        """The remedy if the endpoint does not answer."""

    @property
    def keeps_answers(self) -> bool:
        """Whether the servers store their answers in this home. If not, the client has to."""
        return False

    @abstractmethod
    def start(self, log: Log) -> None:
        """Start the recorded deployments that do not run; no record changes. Raises EndpointDown."""

    @abstractmethod
    def stop(self, log: Log) -> None:
        """Stop all servers. The records stay."""

    @abstractmethod
    def status(self) -> dict[str, Any]:
        """Return address, deployments, their traffic, and whether they answer."""


class ModelOptimizer(Port):
    """Runs quantization_code and stores quantised models with their measurements."""

    @abstractmethod
    def optimize(
        self, context: StepContext, model: records.RegisteredModel, dataset: records.DatasetVersion
    ) -> records.OptimizedModel:
        """Quantise the model, measure it on the dataset's test split, and decide in which form it is served."""

    @abstractmethod
    def report(self, optimized: records.OptimizedModel) -> dict[str, Any]:
        """Return the content of quantization.json."""
