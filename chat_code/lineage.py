"""Where an answer comes from, as a command of the project tells it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chat_code.logs import event

SECONDS = 60.0
NEAREST = 3


@dataclass
class Lineage:
    """Calls `command` with an answer's id, once at a time.

    It prints a JSON object with `path`, `nearest` and `notes`, as `phi why --json` does.
    """

    command: Sequence[str]
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, answer_id: str) -> dict[str, Any] | None:
        """Return `facts`, `nearest` and `note` of an answer; None when the command cannot tell."""
        try:
            async with self._one, asyncio.timeout(SECONDS):
                told = await self._call(answer_id)
            facts = [{"name": str(step["what"]), "value": str(step["words"]), "note": ""} for step in told["path"]]
            nearest = [
                {
                    "source": str(near["id"]),
                    "similarity": round(float(near["similarity"]), 2),
                    # What one person said in the chat is shown to no other.
                    "text": None if near.get("reviewed") else f"{near['question']}\n{near['answer']}",
                    "reviewed": bool(near.get("reviewed")),
                }
                for near in told["nearest"][:NEAREST]
            ]
            return {"facts": facts, "nearest": nearest, "note": " ".join(str(note) for note in told["notes"])}
        except (TimeoutError, OSError, ValueError, LookupError, TypeError) as e:
            event("lineage_unknown", level=logging.WARNING, error=type(e).__name__)
            return None

    async def _call(self, answer_id: str) -> dict[str, Any]:
        # The id is an argument of its own after `--`: it is never read as an option.
        process = await asyncio.create_subprocess_exec(
            *self.command,
            "--",
            answer_id,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            out, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            raise
        return json.loads(out)
