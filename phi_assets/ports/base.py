"""The base class of all ports.

The event log records what was materialised. `Port.find` checks whether it still exists, so that a deleted folder or a
stopped endpoint is noticed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import dagster as dg

from phi_assets import records

Log = Callable[[str], None]
StepContext = dg.AssetExecutionContext | dg.OpExecutionContext  # of an asset, or of the op of a candidate model


class Port(dg.ConfigurableResource, ABC):
    """A resource that stores records by digest."""

    @abstractmethod
    def find(self, digest: str) -> records.Record | None:
        """Return the record stored under the digest; None if its files are missing or damaged."""

    def invalidate(self) -> None:
        """Drop what `find` cached, because another process may have changed the stored state."""

    def missing_reason(self, digest: str) -> str:
        """Return why `find` returned None."""
        del digest
        return "what was made is gone"
