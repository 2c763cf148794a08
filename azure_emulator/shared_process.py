"""The process that the local Azures of one test process run in: opened and closed by lines on its standard input.

What costs two seconds, importing the clients and starting Azurite, it does once. All else of a local Azure is made anew
for each: its folder, secrets, certificates and ports too, so that no client mistakes one for another.
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
    """Obeys until its standard input ends, or the process `owner` is gone; nothing runs any more afterwards.

    `{"open": folder, "scale": 0.0}` and `{"close": folder}` are each answered by a line, with an `error` if it failed.
    """
    opened: dict[str, AsyncExitStack] = {}
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    gone = asyncio.create_task(_until_gone(owner))
    obeyed = asyncio.create_task(_obey(commands, opened, answers))
    await asyncio.wait({gone, obeyed}, return_when=asyncio.FIRST_COMPLETED)
    for task in (gone, obeyed):
        task.cancel()
    for azure in opened.values():
        await azure.aclose()


async def _until_gone(owner: int) -> None:
    while psutil.pid_exists(owner):
        await asyncio.sleep(1)


async def _obey(commands: asyncio.StreamReader, opened: dict[str, AsyncExitStack], answers: IO[str]) -> None:
    while line := await commands.readline():
        answer: dict[str, Any] = {}
        try:
            await _grant(json.loads(line), opened)
        except Exception as e:
            _LOG.exception("%s", line.decode())
            answer = {"error": repr(e)}
        print(json.dumps(answer), file=answers, flush=True)


async def _grant(command: dict[str, Any], opened: dict[str, AsyncExitStack]) -> None:
    if "close" in command:
        await opened.pop(command["close"]).aclose()
        return
    azure = AsyncExitStack()
    await azure.enter_async_context(serving(Path(command["open"]), command["scale"], SharedAzurite()))
    opened[command["open"]] = azure


def main() -> None:
    """`several.py OWNER FOLDER`: the folder, which is for what is temporary, goes with this process."""
    atexit.register(shutil.rmtree, sys.argv[2], ignore_errors=True)
    # Only answers are written to where they are expected.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    prepare()
    asyncio.run(serve(int(sys.argv[1]), answers))


if __name__ == "__main__":
    main()
