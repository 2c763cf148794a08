"""What all ports share.

Every port can `find(digest)`: the record of what really exists under that digest now, or None. The event log only knows
what once was made; a deleted folder or a dead endpoint is seen here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import dagster as dg

from phi_assets import records

Log = Callable[[str], None]
StepContext = dg.AssetExecutionContext | dg.OpExecutionContext  # of an asset, or of a candidate's op


class Port(dg.ConfigurableResource, ABC):
    """A capability that keeps things under their digests."""

    @abstractmethod
    def find(self, digest: str) -> records.Record | None:
        """The record of what exists under the digest now; None when it is gone, or damaged."""

    def invalidate(self) -> None:
        """What `find` remembered of the world is forgotten: another process may have changed it since."""

    def missing_reason(self, digest: str) -> str:
        """Why `find` found nothing."""
        del digest
        return "what was made is gone"
