"""One line of JSON per event, without what anyone said."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

LOGGER = logging.getLogger("chat_code")


def event(name: str, *, level: int = logging.INFO, exc_info: bool = False, **fields: Any) -> None:
    """Log an event with its fields. With `exc_info`, the frames of the current error, without its message."""
    if exc_info:
        kind, _, frames = sys.exc_info()
        where = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(frames)][-6:]
        fields |= {"error": kind.__name__ if kind else "", "at": where}
    line = {"time": round(time.time(), 3), "level": logging.getLevelName(level), "event": name, **fields}
    LOGGER.log(level, json.dumps(line, ensure_ascii=False, default=str))


def log_to_stderr() -> None:
    """Send the events to stderr, and nothing else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.handlers, LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO)
