"""The place, the machine and the packages that the graph works with."""

from abc import abstractmethod
from collections.abc import Mapping

from phi_assets import records
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Log, Port


class CloudResources(Port):
    """The resources that one deployment makes in a cloud subscription, one asset each."""

    @abstractmethod
    def ensure(self, log: Log) -> Mapping[str, records.CloudResource]:
        """Every resource by its asset's name, deployed only when the template changed or the live state drifted."""

    @abstractmethod
    def planned(self) -> str:
        """What the cloud forecast before the last deployment of this process; a word when there was none."""

    @abstractmethod
    def examine(self, asset: str) -> Mapping[str, CheckOutcome]:
        """The verdict of every live check of an asset, by the check's name."""


class ComputeQuota(Port):
    """How much compute the cloud allows."""

    @abstractmethod
    def ensure(self, log: Log) -> records.Quota:
        """What is needed, allowed and used now; asks for more where the settings say so."""

    @abstractmethod
    def judge(self, quota: records.Quota) -> Mapping[str, CheckOutcome]:
        """The verdict of each check on it, by the check's name."""


class Provisioner(Port):
    """Makes sure of the place, the machine and the packages that the graph works with."""

    @abstractmethod
    def ensure_workspace(self) -> records.Workspace:
        """The place where runs and models are tracked, made when it is missing."""

    @abstractmethod
    def ensure_compute(self) -> records.Compute:
        """What training will run on."""

    @abstractmethod
    def ensure_environment(self) -> records.TrainingEnvironment:
        """The locked packages that training will run with."""

    def resource(self, record: records.Workspace | records.Compute) -> records.CloudResource | None:
        """What the cloud knows the workspace or the compute as, its price and its page; None on a laptop."""
        del record
        return None

    def examine_compute(self) -> Mapping[str, CheckOutcome]:
        """The verdict of each live check of the compute, by the check's name; none on a laptop."""
        return {}

    @abstractmethod
    def differing_packages(self) -> list[str]:
        """A line for each package of the environment that is not in its locked version."""
