"""The only file that knows Dagster, and Azure: under Dagster Pipes what a run says goes to the run's log too.

On this machine the messages go through a file; in an Azure ML job through a blob, with the identity of the job.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, Protocol

SECONDS_BETWEEN_BLOCKS = 2  # an append blob holds 50,000 blocks: more than a day at this rate
LAST_WAITS = (1.0, 4.0, 10.0)  # seconds before each further try of the last block


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
    from dagster_pipes import PipesEnvVarParamsLoader, open_dagster_pipes

    place = PipesEnvVarParamsLoader().load_context_params()
    session = session_over_blob(place) if "account_url" in place else open_dagster_pipes()
    if session is None:
        yield Terminal()
        return
    with session as context:
        yield Orchestrator(context.log.info, context.report_custom_message)


def session_over_blob(place: Mapping[str, Any]) -> Any:
    """Pipes over Blob. An identity that may only read there, as in the guide's access mode, tells its messages in the
    job's log; None when it may not even read.
    """
    from azure.core.exceptions import AzureError
    from dagster_pipes import open_dagster_pipes

    client = blobs_at(place)
    try:
        return open_dagster_pipes(context_loader=context_in(client), message_writer=appending_to(client))
    except AzureError as e:
        print(f"Dagster is told in this log: messages could not be written to Blob ({type(e).__name__})", flush=True)
    try:
        return open_dagster_pipes(context_loader=context_in(client), message_writer=in_this_log())
    except AzureError as e:
        print(f"warning: Dagster cannot be told ({type(e).__name__}): what is said is in this log only", flush=True)
        return None


def blobs_at(place: Mapping[str, Any]) -> Any:
    """The account that a context's place names, opened with the identity of the job."""
    from azure.identity import ManagedIdentityCredential
    from azure.storage.blob import BlobServiceClient

    # A compute node may bear several identities, and says which one is the job's.
    credential = ManagedIdentityCredential(client_id=os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"))
    return BlobServiceClient(place["account_url"], credential=credential)


def context_in(client: Any) -> Any:
    from dagster_pipes import PipesAzureBlobStorageContextLoader

    return PipesAzureBlobStorageContextLoader(client)


def in_this_log() -> Any:
    """Messages as lines of standard output, which whoever follows the job tells from what it prints."""
    from dagster_pipes import PipesMessageWriter, PipesMessageWriterChannel

    class Channel(PipesMessageWriterChannel):
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def write_message(self, message: Any) -> None:
            with self.lock:  # in one piece, so that nothing stands between a message and the end of its line
                sys.stdout.write(json.dumps(message) + "\n")
                sys.stdout.flush()

    class Writer(PipesMessageWriter):  # pyright: ignore[reportMissingTypeArgument]
        @contextmanager
        def open(self, params: Mapping[str, Any]) -> Iterator[Channel]:
            del params
            yield Channel()

    return Writer()


def appending_to(client: Any) -> Any:
    """Messages as lines of one append blob, so that a restarted job goes on where the lost one stopped."""
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
                for seconds in LAST_WAITS:  # no later block takes along what the last could not
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
                # Training goes on; the lines stand in the job's own log, and the messages go with the next block.
                print(f"warning: Dagster could not be told: {type(e).__name__}", flush=True)

        def append(self) -> None:
            if not self.unsent:
                return
            try:
                self.blob.append_block(self.unsent, appendpos_condition=self.size)
            except HttpResponseError as e:
                if e.status_code != 412:  # AppendPositionConditionNotMet
                    raise
                self.go_behind()
                if self.unsent:
                    self.blob.append_block(self.unsent, appendpos_condition=self.size)
            self.size += len(self.unsent)
            self.unsent = b""

        def go_behind(self) -> None:
            """Behind what is there: an earlier block whose answer was lost, and what another writer appended."""
            there = self.blob.download_blob(offset=self.size).readall()
            mine, found = (part.splitlines(keepends=True) for part in (self.unsent, there))
            sent = list(takewhile(lambda pair: pair[0] == pair[1], zip(mine, found, strict=False)))
            self.unsent, self.size = b"".join(mine[len(sent) :]), self.size + len(there)

    class Writer(PipesBlobStoreMessageWriter):  # pyright: ignore[reportMissingTypeArgument]
        def make_channel(self, params: Mapping[str, Any]) -> Channel:
            return Channel(params["bucket"], params["key"])

    return Writer()
