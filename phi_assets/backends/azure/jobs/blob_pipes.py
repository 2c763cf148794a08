"""Dagster Pipes over blob storage: a context blob and one append-only message blob, at paths derived from the job's
name.

The run that submitted the job and a run that adopts it read the same messages from the first one on. There is no reader
thread: the loop that watches the job reads.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from phi_assets.backends.azure.jobs.logs import LineLog, Tail
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.ports.base import StepContext

SHOWN = 200  # characters of an invalid message that are logged


def pipes_folder(job: str) -> str:
    return f"phi/pipes/{job}/"


class BlobContext(dg.PipesContextInjector):
    """The run's context in a blob, deleted together with the session's other blobs."""

    def __init__(self, blobs: WorkspaceBlobs, job: str) -> None:
        self.blobs, self.key = blobs, pipes_folder(job) + "context.json"

    @contextmanager
    def inject_context(self, context_data: Any) -> Iterator[dict[str, Any]]:
        url, container = self.blobs.place
        self.blobs.write(self.key, json.dumps(context_data).encode())
        yield {"account_url": url, "bucket": container, "key": self.key}

    def no_messages_debug_text(self) -> str:
        return f"The context was written to {self.key}."


class BlobMessages(dg.PipesMessageReader):
    """Messages from the job's blob, handled on each call of `follow`."""

    def __init__(self, blobs: WorkspaceBlobs, job: str, line_log: LineLog) -> None:
        self.blobs, self.line_log = blobs, line_log
        self.key = pipes_folder(job) + "messages.jsonl"
        self.tail = Tail(lambda start: blobs.peek(self.key, start=start))
        self.handler: Any = None

    @contextmanager
    def read_messages(self, handler: Any) -> Iterator[dict[str, Any]]:
        self.handler = handler
        yield {"bucket": self.blobs.place[1], "key": self.key}

    def follow(self, *, over: bool = False) -> None:
        """Handle the messages added since the last call; `over`: the job has ended."""
        for line in self.tail.new(f"reading {self.key}", self.line_log.log, over=over):
            if not self.take(line):
                self.line_log.log(f"{self.key}: skipped an invalid message: {line[:SHOWN]}")

    def take(self, line: str) -> bool:
        """Handle the line; False when it is not a valid message, such as a truncated line or one with two writers."""
        try:
            self._handle(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, dg.DagsterError):
            return False
        return True

    @property
    def expected_writer_count(self) -> int:
        return 1  # the base class's property is marked as a preview, and warns

    def no_messages_debug_text(self) -> str:
        return f"Messages were expected in {self.key}."

    def _handle(self, message: dict[str, Any]) -> None:
        if message["method"] == "log" and message["params"]["level"].upper() == "INFO":
            for line in message["params"]["message"].splitlines():  # the job prints it too
                self.line_log.line("pipes", line)
        else:
            self.handler.handle_message(message)


class Pipes:
    """A Pipes session, or none for jobs that report through their log only."""

    def __init__(self, session: Any, reader: BlobMessages | None) -> None:
        self.session, self.reader = session, reader

    @property
    def variables(self) -> dict[str, str]:
        return self.session.get_bootstrap_env_vars() if self.session else {}

    @property
    def message(self) -> Callable[[str], bool] | None:
        """The handler for a Pipes message that arrived in the job's log; None without a session."""
        return self.reader.take if self.reader else None

    def follow(self, *, over: bool = False) -> None:
        if self.reader:
            self.reader.follow(over=over)

    def failed(self) -> str | None:
        """The failure that the program itself reported; None if it reported none."""
        messages = self.session.get_custom_messages() if self.session else ()
        return next((m["failed"] for m in reversed(messages) if "failed" in m), None)


@contextmanager
def open_pipes(context: StepContext | None, blobs: WorkspaceBlobs, job: str, line_log: LineLog) -> Iterator[Pipes]:
    """Open a Pipes session for the job of this name, submitted or not; without a context, no session."""
    if context is None:
        yield Pipes(None, None)
        return
    reader = BlobMessages(blobs, job, line_log)
    with dg.open_pipes_session(
        context=context, context_injector=BlobContext(blobs, job), message_reader=reader
    ) as session:
        yield Pipes(session, reader)
