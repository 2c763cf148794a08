"""The only file that knows Dagster, and Azure: under Dagster Pipes what a run says goes to the run's log too.

On this machine the messages go through a file; in an Azure ML job through a blob, with the identity of the job.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

SECONDS_BETWEEN_BLOCKS = 2  # an append blob holds 50,000 blocks: more than a day at this rate


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
    """Pipes over Blob; None when the job's identity may not write there, as in the guide's access mode."""
    from azure.core.exceptions import AzureError
    from dagster_pipes import open_dagster_pipes

    try:
        return open_dagster_pipes(**through_blob(place))
    except AzureError as e:
        print(f"warning: Dagster cannot be told ({type(e).__name__}): what is said is in this log only", flush=True)
        return None


def through_blob(place: Mapping[str, Any]) -> dict[str, Any]:
    """What Pipes needs to read its context from a blob and to append its messages to another beside it."""
    from azure.identity import ManagedIdentityCredential
    from azure.storage.blob import BlobServiceClient

    # A compute node may bear several identities, and says which one is the job's.
    credential = ManagedIdentityCredential(client_id=os.environ.get("DEFAULT_IDENTITY_CLIENT_ID"))
    client = BlobServiceClient(place["account_url"], credential=credential)
    return {"context_loader": context_in(client), "message_writer": appending_to(client)}


def context_in(client: Any) -> Any:
    from dagster_pipes import PipesAzureBlobStorageContextLoader

    return PipesAzureBlobStorageContextLoader(client)


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

        def upload_messages_chunk(self, payload: Any, index: int) -> None:
            self.unsent += payload.read().encode() + b"\n"
            try:
                self.append()
            except AzureError as e:
                # Training goes on; the lines stand in the job's own log, and the messages go with the next block.
                print(f"warning: Dagster could not be told: {type(e).__name__}", flush=True)

        def append(self) -> None:
            try:
                self.blob.append_block(self.unsent, appendpos_condition=self.size)
            except HttpResponseError as e:
                if e.status_code != 412:  # AppendPositionConditionNotMet
                    raise
                # An earlier block is there, and only the answer to it was lost.
                size = self.blob.get_blob_properties().size
                self.unsent, self.size = self.unsent[size - self.size :], size
                if self.unsent:
                    self.blob.append_block(self.unsent, appendpos_condition=self.size)
            self.size += len(self.unsent)
            self.unsent = b""

    class Writer(PipesBlobStoreMessageWriter):  # pyright: ignore[reportMissingTypeArgument]
        def make_channel(self, params: Mapping[str, Any]) -> Channel:
            return Channel(params["bucket"], params["key"])

    return Writer()
