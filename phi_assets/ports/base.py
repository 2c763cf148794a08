"""The base class of all ports.

The event log records what was materialised. `Port.find` checks whether it still exists, so that a deleted folder or a
stopped endpoint is noticed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import dagster as dg

from phi_assets import records

Log = Callable[[str], None]


def no_log(line: str) -> None:
    """Discard a progress line."""
    del line


StepContext = dg.AssetExecutionContext | dg.OpExecutionContext  # of an asset, or of the op of a candidate model


@dataclass(frozen=True)
class Decides:
    """What an implementation adds to the code version of an asset that it makes, besides its own module.

    `modules` are further modules of the backend, without `phi_assets.backends.`; `programs` are folders and files,
    relative to the project, that run elsewhere; `settings` are those that only this backend reads.
    """

    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()


class Port(dg.ConfigurableResource, ABC):
    """A resource that stores records by digest."""

    decides: ClassVar[Mapping[str, Decides]] = {}
    """By asset, what decides it. An asset that is not named does not depend on this implementation."""

    def decided_by(self, asset: str) -> Decides | None:
        """Return what this implementation adds to an asset's code version, with full module names; None: nothing."""
        found = self.decides.get(asset)
        if found is None:
            return None
        modules = (type(self).__module__, *(f"phi_assets.backends.{name}" for name in found.modules))
        return replace(found, modules=modules)

    @abstractmethod
    def find(self, digest: str) -> records.Record | None:
        """Return the record stored under the digest; None if its files are missing or damaged."""

    def invalidate(self) -> None:
        """Drop what `find` cached, because another process may have changed the stored state."""

    def missing_reason(self, digest: str) -> str:
        """Return why `find` returned None."""
        del digest
        return "what was made is gone"
