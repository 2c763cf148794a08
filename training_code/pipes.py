"""The only file that knows Dagster: with Dagster Pipes around the process, log lines go to the run's log too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol


class Reporter(Protocol):
    """Takes what a run says while it goes."""

    def line(self, text: str) -> None: ...

    def progress(self, values: Mapping[str, Any]) -> None: ...

    def failed(self, why: str) -> None: ...


class Terminal:
    """Says it on standard output; numbers are for the orchestrator only."""

    def line(self, text: str) -> None:
        print(text, flush=True)

    def progress(self, values: Mapping[str, Any]) -> None:
        pass

    def failed(self, why: str) -> None:
        self.line(f"error: {why}")


class Orchestrator:
    """Says it to the Dagster run."""

    def __init__(self, log: Callable[[str], None], report: Callable[[Mapping[str, Any]], None]) -> None:
        self.log, self.report = log, report

    def line(self, text: str) -> None:
        print(text, flush=True)
        self.log(text)

    def progress(self, values: Mapping[str, Any]) -> None:
        self.report({"progress": dict(values)})

    def failed(self, why: str) -> None:
        self.line(f"error: {why}")
        self.report({"failed": why})


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The Dagster run that started this process, or the terminal when none did."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield Terminal()
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as context:
        yield Orchestrator(context.log.info, context.report_custom_message)
