"""Whether the Dagster run that a job works for was stopped: an interrupt alone may be lost on its way."""

import contextlib
import time

import dagster as dg

from phi_assets.ports.base import StepContext

SECONDS_BETWEEN_LOOKS = 5.0
STOPPED = frozenset({dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED})


class OwnRun:
    """The run of a step; none without a context."""

    def __init__(self, context: StepContext | None) -> None:
        self.context = context
        self.looked = float("-inf")

    def raise_if_stopped(self) -> None:
        """Raises the interrupt that did not arrive: azure-ai-ml catches every exception while it asks git."""
        if self.context is None or time.monotonic() - self.looked < SECONDS_BETWEEN_LOOKS:
            return
        self.looked = time.monotonic()
        run = None
        with contextlib.suppress(Exception):  # a storage that is busy is asked the next time
            run = self.context.instance.get_run_by_id(self.context.run.run_id)
        if run is not None and run.status in STOPPED:
            raise dg.DagsterExecutionInterruptedError
