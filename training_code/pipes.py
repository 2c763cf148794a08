"""Reports progress to Dagster Pipes and standard output. The only file that imports Dagster or Azure packages.

On a laptop, Pipes messages go through a file; in an Azure ML job, through a blob, with the identity of the job.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import takewhile
from typing import Any, Protocol

SECONDS_BETWEEN_BLOCKS = 2  # an append blob holds 50,000 blocks: more than a day at this rate
FINAL_RETRY_SECONDS = (1.0, 4.0, 10.0)  # before each retry of the last block


class Reporter(Protocol):
    """Receives log lines, progress and the failure of a run."""

    def line(self, text: str) -> None: ...

    def warning(self, text: str) -> None: ...

    def progress(self, values: Mapping[str, Any]) -> None: ...

    def failed(self, reason: str) -> None: ...


class Terminal:
    """Writes lines to standard output; ignores progress values, which are for the orchestrator."""

    def line(self, text: str) -> None:
        print(text, flush=True)

    def warning(self, text: str) -> None:
        self.line(f"warning: {text}")

    def progress(self, values: Mapping[str, Any]) -> None:
        pass

    def failed(self, reason: str) -> None:
        self.line(f"error: {reason}")


class Silent(Terminal):
    """Says nothing but a failure, on standard error: rank 0 of several processes reports for all."""

    def line(self, text: str) -> None:
        pass

    def failed(self, reason: str) -> None:
        print(f"error: {reason}", file=sys.stderr, flush=True)


class Orchestrator:
    """Writes to standard output and to the Dagster run."""

    def __init__(
        self,
        log: Callable[[str], None],
        warn: Callable[[str], None],
        report: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.log, self.warn, self.report = log, warn, report

    def line(self, text: str) -> None:
        print(text, flush=True)
        self.log(text)

    def warning(self, text: str) -> None:
        print(f"warning: {text}", flush=True)
        self.warn(text)

    def progress(self, values: Mapping[str, Any]) -> None:
        self.report({"progress": dict(values)})

    def failed(self, reason: str) -> None:
        self.line(f"error: {reason}")
        self.report({"failed": reason})


@contextmanager
def reporter(*, silent: bool = False) -> Iterator[Reporter]:
    """The reporter to the Dagster run that started this process, or to the terminal when there is none.

    A `silent` one reports to neither.
    """
    if silent:
        yield Silent()
        return
    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield Terminal()
        return
    from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

    parameters = PipesEnvVarParamsLoader().load_context_params()
    session = session_over_blob(parameters) if "account_url" in parameters else open_dagster_pipes()
    if session is None:
        yield Terminal()
        return
    with session as context:
        yield Orchestrator(context.log.info, context.log.warning, context.report_custom_message)


def session_over_blob(parameters: Mapping[str, Any]) -> Any:
    """A Pipes session over Blob Storage. An identity with read access only, as in the guide's access mode, writes its
    messages to the job's log instead; returns None when it may not even read.
    """
    from azure.core.exceptions import AzureError
    from dagster_pipes import open_dagster_pipes

    client = blobs_at(parameters)
    try:
        return open_dagster_pipes(context_loader=context_in(client), message_writer=appending_to(client))
    except AzureError as e:
        print(f"Pipes messages go to this log: could not write them to Blob Storage ({type(e).__name__})", flush=True)
    try:
        return open_dagster_pipes(context_loader=context_in(client), message_writer=in_this_log())
    except AzureError as e:
        print(f"warning: cannot report to Dagster ({type(e).__name__}): progress is in this log only", flush=True)
        return None


def blobs_at(parameters: Mapping[str, Any]) -> Any:
    """A client of the account in the Pipes context parameters, with the identity of the job."""
    from azure.storage.blob import BlobServiceClient

    return BlobServiceClient(parameters["account_url"], credential=job_credential())


@cache
def job_credential() -> Any:
    """The credential of a job's identity, which caches its tokens."""
    from azure.identity import ManagedIdentityCredential

    # A compute node may have several identities; the variable names the one of the job.
    return ManagedIdentityCredential(client_id=os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"))


def context_in(client: Any) -> Any:
    from dagster_pipes import PipesAzureBlobStorageContextLoader

    return PipesAzureBlobStorageContextLoader(client)


def in_this_log() -> Any:
    """A message writer to standard output, one JSON line per message, which the reader of the job's log filters out."""
    from dagster_pipes import PipesMessageWriter, PipesMessageWriterChannel

    class Channel(PipesMessageWriterChannel):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def write_message(self, message: Any) -> None:
            with self.lock:  # in one write, so that no other output splits the line
                sys.stdout.write(json.dumps(message) + "\n")
                sys.stdout.flush()

    class Writer(PipesMessageWriter):  # pyright: ignore[reportMissingTypeArgument]
        @contextmanager
        def open(self, params: Mapping[str, Any]) -> Iterator[Channel]:
            del params
            yield Channel()

    return Writer()


def appending_to(client: Any) -> Any:
    """A message writer that appends lines to one append blob, so that a restarted job continues the blob."""
    from azure.core.exceptions import AzureError, HttpResponseError
    from dagster_pipes import PipesBlobStoreMessageWriter, PipesBlobStoreMessageWriterChannel

    class Channel(PipesBlobStoreMessageWriterChannel):
        def __init__(self, container: str, key: str) -> None:
            super().__init__(interval=SECONDS_BETWEEN_BLOCKS)
            self.blob = client.get_blob_client(container, key)
            if not self.blob.exists():
                self.blob.create_append_blob()
            self.size = self.blob.get_blob_properties().size
            self.unsent = b""
            self.lock = threading.Lock()

        @contextmanager
        def buffered_upload_loop(self) -> Iterator[None]:
            try:
                with super().buffered_upload_loop():
                    yield
            finally:
                for seconds in FINAL_RETRY_SECONDS:  # no later block would carry the unsent messages
                    if not self.unsent:
                        break
                    time.sleep(seconds)
                    self.send()

        def upload_messages_chunk(self, payload: Any, index: int) -> None:
            self.unsent += payload.read().encode() + b"\n"
            self.send()

        def send(self) -> None:
            try:
                with self.lock:
                    self.append()
            except AzureError as e:
                # Training continues; the lines are in the job's own log, and the next block carries the messages.
                print(f"warning: could not report to Dagster: {type(e).__name__}", flush=True)

        def append(self) -> None:
            if not self.unsent:
                return
            try:
                self.blob.append_block(self.unsent, appendpos_condition=self.size)
            except HttpResponseError as e:
                if e.status_code != 412:  # AppendPositionConditionNotMet
                    raise
                self.skip_stored()
                if self.unsent:
                    self.blob.append_block(self.unsent, appendpos_condition=self.size)
            self.size += len(self.unsent)
            self.unsent = b""

        def skip_stored(self) -> None:
            """Move behind blocks already stored: own ones whose response was lost, and those of another writer."""
            stored = self.blob.download_blob(offset=self.size).readall()
            mine, present = (part.splitlines(keepends=True) for part in (self.unsent, stored))
            sent = list(takewhile(lambda pair: pair[0] == pair[1], zip(mine, present, strict=False)))
            self.unsent, self.size = b"".join(mine[len(sent) :]), self.size + len(stored)

    class Writer(PipesBlobStoreMessageWriter):  # pyright: ignore[reportMissingTypeArgument]
        def make_channel(self, params: Mapping[str, Any]) -> Channel:
            return Channel(params["bucket"], params["key"])

    return Writer()
