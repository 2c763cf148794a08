"""Appends a job's output to its log blob while the job runs."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import IO

from azure_emulator.blob_storage.blob_store import BlobStore
from azure_emulator.jobs.contract import BlobPath

SECONDS_BETWEEN_WRITES = 0.3
LARGEST_BLOCK = 1024 * 1024


class JobLog:
    """Copies with two threads: one reads the pipe, so that the job never blocks on it; one writes the blob."""

    def __init__(self, store: BlobStore, blob: BlobPath, output: IO[bytes]) -> None:
        self._store, self._blob, self._output = store, blob, output
        self._waiting: deque[bytes] = deque()
        self._ended = threading.Event()
        self._last = b""
        self._reader = threading.Thread(target=self._read, name="job-output", daemon=True)
        self._writer = threading.Thread(target=self._write, name="job-log", daemon=True)
        self._reader.start()
        self._writer.start()

    def close(self, seconds: float = 10) -> None:
        """Write the rest of the output to the blob. Call it after the job's processes have ended."""
        self._reader.join(seconds)
        self._writer.join(seconds)

    def last_lines(self, count: int = 10) -> str:
        return "\n".join(self._last.decode(errors="replace").splitlines()[-count:])

    def _read(self) -> None:
        # The pipe is unbuffered: read returns the available bytes without waiting for a full block.
        while data := self._output.read(LARGEST_BLOCK):
            self._waiting.append(data)
            self._last = (self._last + data)[-8192:]
        self._ended.set()

    def _write(self) -> None:
        while True:
            ended = self._ended.wait(SECONDS_BETWEEN_WRITES)
            block = b""
            while self._waiting and len(block) < LARGEST_BLOCK:
                block += self._waiting.popleft()
            if block:
                self._store.append(self._blob, block)
            elif ended:
                return


def append_line(store: BlobStore, blob: BlobPath, text: str) -> None:
    """Append a line of the platform to a job's log."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    store.append(blob, f"[{now}] {text}\n".encode())
