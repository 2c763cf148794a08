"""Writes progress to the orchestrator's run log under Dagster Pipes, else to standard output."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_log(what: str = "evaluation") -> Iterator[Callable[[str], None]]:
    """A function that writes one line of progress; `what` is stopped by an error."""
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield lambda line: print(line, flush=True)
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:
        try:
            yield pipes.log.info
        except Exception as e:
            pipes.log.error(f"{what} stopped: {e}")  # Pipes itself logs it at debug level only
            pipes.report_custom_message({"failed": str(e)})
            raise
