"""The process that hosts all emulators of one test process. Lines on its standard input open and close them.

It imports the clients and starts Azurite once, which takes two seconds. Everything else is new for each emulator,
including folder, secrets, certificates and ports, so that no client confuses two of them.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any

import psutil

from azure_emulator.blob_storage.azurite import SharedAzurite
from azure_emulator.server import prepare, serving

_LOG = logging.getLogger(__name__)


async def serve(owner: int, answers: IO[str]) -> None:
    """Execute commands until standard input ends or the process `owner` ends; then close all emulators.

    `{"open": folder, "scale": 0.0}` and `{"close": folder}` are each answered by one line, with an `error` on failure.
    """
    opened: dict[str, AsyncExitStack] = {}
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    owner_ended = asyncio.create_task(_until_ended(owner))
    input_ended = asyncio.create_task(_execute_all(commands, opened, answers))
    await asyncio.wait({owner_ended, input_ended}, return_when=asyncio.FIRST_COMPLETED)
    for task in (owner_ended, input_ended):
        task.cancel()
    for azure in opened.values():
        await azure.aclose()


async def _until_ended(owner: int) -> None:
    while psutil.pid_exists(owner):
        await asyncio.sleep(1)


async def _execute_all(commands: asyncio.StreamReader, opened: dict[str, AsyncExitStack], answers: IO[str]) -> None:
    while line := await commands.readline():
        answer: dict[str, Any] = {}
        try:
            await _execute(json.loads(line), opened)
        except Exception as e:
            _LOG.exception("%s", line.decode())
            answer = {"error": repr(e)}
        print(json.dumps(answer), file=answers, flush=True)


async def _execute(command: dict[str, Any], opened: dict[str, AsyncExitStack]) -> None:
    if "close" in command:
        await opened.pop(command["close"]).aclose()
        return
    azure = AsyncExitStack()
    await azure.enter_async_context(serving(Path(command["open"]), command["scale"], SharedAzurite()))
    opened[command["open"]] = azure


def main() -> None:
    """`shared_process.py OWNER FOLDER`: the folder holds temporary files and is deleted when this process ends."""
    atexit.register(shutil.rmtree, sys.argv[2], ignore_errors=True)
    # Only answers go to the original standard output; prints of libraries go to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepare()
    asyncio.run(serve(int(sys.argv[1]), answers))


if __name__ == "__main__":
    main()
