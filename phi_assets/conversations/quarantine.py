"""Records of dropped and changed rows, with secrets masked, and the counts of their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from phi_assets.conversations.personal_data import mask
from phi_assets.conversations.rows import Broken, Kind, Row


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One line of quarantine.jsonl. `row` is an object, or the start of its text if it is too long or broken."""

    file: str
    line: int
    reason: str
    action: Literal["dropped", "changed"]
    kind: Kind
    detail: str
    row: Any

    def to_line(self) -> bytes:
        """The record as one line of JSON."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS, default=str)


def drop_broken(broken: Broken, characters: int) -> Quarantined:
    """The record of a part of a file that couldn't be parsed."""
    text = mask(broken.text).text[:characters]
    return Quarantined(broken.file, broken.line, broken.reason, "dropped", "broken", "", text)


def drop(row: Row, reason: str, kind: Kind, detail: str, characters: int) -> Quarantined:
    """The record of a row that isn't published."""
    masked = mask(detail[:_DETAIL]).text
    return Quarantined(row.file, row.line, reason, "dropped", kind, masked, shown(row.value, characters))


def change(row: Row, reasons: Iterable[str], kind: Kind, characters: int) -> Quarantined:
    """The record of a row that is published with changes; several reasons are joined by `+`."""
    return Quarantined(row.file, row.line, "+".join(reasons), "changed", kind, "", shown(row.value, characters))


_DETAIL = 500
_DEEPEST = 100
"""Maximum levels of nesting that are shown; JSON may have more than Python and orjson can process."""
_OVERLAP = 1_024
"""Characters after the cut that are searched too: part of a secret would not be recognised."""


def shown(value: Any, characters: int) -> Any:
    """The row with secrets and personal data masked, as text cut to `characters` when it is longer."""
    masked, _ = _masked(value, characters)
    text = orjson.dumps(masked, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    return masked if len(text) <= characters else text[:characters]


def _masked(value: Any, room: int, depth: int = 0) -> tuple[Any, int]:
    """The value masked, and the number of characters still to show; text after the cut isn't masked."""
    if depth > _DEEPEST:
        return "nested too deep to show", room
    if isinstance(value, str):
        return (mask(value[: room + _OVERLAP]).text if room > 0 else "", room - len(value))
    if isinstance(value, dict):
        masked = {}
        for key, item in value.items():
            name = mask(str(key)).text
            masked[name], room = _masked(item, room - len(name), depth + 1)
        return masked, room
    if isinstance(value, (list, tuple)):
        items = []
        for item in value:
            item, room = _masked(item, room, depth + 1)
            items.append(item)
        return items, room
    return (f"<{len(value)} bytes>" if isinstance(value, bytes) else value), room


def count_reasons(quarantine: Iterable[Quarantined]) -> dict[str, int]:
    """Rows by reason, most frequent first; a row changed for two reasons counts for both."""
    counts = Counter(reason for record in quarantine for reason in record.reason.split("+"))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def count_kinds(quarantine: Iterable[Quarantined]) -> dict[str, int]:
    """Rows by kind, with changed rows counted separately from dropped ones: `broken`, `duplicate`, `changed`, ..."""
    counts = Counter(record.kind if record.action == "dropped" else "changed" for record in quarantine)
    return {kind: counts[kind] for kind in ("broken", "unsupported", "duplicate", "policy", "changed")}
