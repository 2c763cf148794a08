"""What a backend stores and may remove."""

from abc import ABC, abstractmethod

import dagster as dg

from phi_assets.models.retention_policy import Stored
from phi_assets.ports.base import Log


class Retention(dg.ConfigurableResource, ABC):
    """Lists what the backend stores for the graph, and removes single things of that list."""

    @abstractmethod
    def stored(self, log: Log) -> list[Stored]:
        """Return everything that a clean may remove."""

    @abstractmethod
    def remove(self, stored: Stored) -> None:
        """Remove it, so that a crash at any moment leaves it whole or gone, never half.

        Of a model's `weights`, the record, the report and the card stay.
        """

    @abstractmethod
    def sweep(self) -> None:
        """Finish removals that a crash interrupted."""
