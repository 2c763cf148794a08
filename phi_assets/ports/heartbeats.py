"""Heartbeats of runs: whoever looks, on whichever machine, finds out that a run's process or host has died."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager

import dagster as dg


class RunHeartbeats(dg.ConfigurableResource, ABC):
    """Renews a heartbeat in the backend while a run's process lives. Only runs of this project have one."""

    @abstractmethod
    def beat(self, run_id: str) -> AbstractContextManager[None]:
        """Renew the run's heartbeat during the block, and remove it at its end."""

    @abstractmethod
    def lapsed(self) -> list[str]:
        """Return the ids of runs whose heartbeat has lapsed, by the clock of the backend.

        Raises BackendError where the backend cannot be read.
        """

    @abstractmethod
    def forget(self, run_ids: Collection[str]) -> None:
        """Remove the heartbeats of runs that are known to have ended."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> "Iterator[RunHeartbeats]":  # type: ignore[override]
        """Renew the heartbeat as long as a run uses this resource."""
        if context.run is None:
            yield self
            return
        with self.beat(context.run.run_id):
            yield self
