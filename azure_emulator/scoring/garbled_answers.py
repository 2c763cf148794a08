"""Makes a correct response wrong: the same structure with another text."""

from __future__ import annotations

import json
from typing import Any

_TEXTS = frozenset({"content", "answer", "output", "text", "response"})


def garbled(body: bytes, text: str) -> bytes:
    """Return the JSON body or event stream with its texts replaced: the first by `text`, later ones by ""."""
    prefix = b"data: "
    if not body.lstrip().startswith(b"data:"):
        return _one(body, text)
    lines, left = [], text
    for line in body.split(b"\n"):
        if line.startswith(prefix):
            new = _one(line[len(prefix) :], left)
            left = "" if new != line[len(prefix) :] else left
            line = prefix + new
        lines.append(line)
    return b"\n".join(lines)


def _one(body: bytes, text: str) -> bytes:
    try:
        return json.dumps(_replaced(json.loads(body), text)).encode()
    except ValueError:
        return body


def _replaced(value: Any, text: str) -> Any:
    if isinstance(value, dict):
        return {k: text if k in _TEXTS and isinstance(v, str) else _replaced(v, text) for k, v in value.items()}
    if isinstance(value, list):
        return [text if isinstance(inner, str) else _replaced(inner, text) for inner in value]
    return value
