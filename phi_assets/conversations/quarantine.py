"""Records of dropped and changed rows, with secrets masked, and the counts of their reasons."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import orjson

from phi_assets.conversations.personal_data import mask
from phi_assets.conversations.rows import Broken, Kind, Row
from phi_assets.conversations.spool import Spool


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


class Quarantine(Sequence[Quarantined]):
    """Records in the order in which their rows were read, on disk; one for each row at most."""

    def __init__(self, folder: Path | None = None) -> None:
        self._spool = Spool(folder)
        self._positions, self._numbers = array("Q"), array("Q")
        self._reasons, self._kinds = Counter[str](), Counter[str]()

    def put(self, position: int, record: Quarantined) -> None:
        """Store the record of the row that was read as the `position`-th, instead of an earlier one."""
        place = bisect_left(self._positions, position)
        if place < len(self) and self._positions[place] == position:
            self._count(self[place], -1)
            self._numbers[place] = len(self._spool)
        else:
            self._positions.insert(place, position)
            self._numbers.insert(place, len(self._spool))
        self._count(record, 1)
        self._spool.append(record.to_line())

    def reasons(self) -> dict[str, int]:
        """Rows by reason, most frequent first; a row changed for two reasons counts for both."""
        counts = [(reason, count) for reason, count in self._reasons.items() if count]
        return dict(sorted(counts, key=lambda item: (-item[1], item[0])))

    def kinds(self) -> dict[str, int]:
        """Rows by kind, with changed rows counted separately from dropped ones: `broken`, `duplicate`, ..."""
        return {kind: self._kinds[kind] for kind in ("broken", "unsupported", "duplicate", "policy", "changed")}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Quarantined: ...
    @overload
    def __getitem__(self, place: slice) -> list[Quarantined]: ...
    def __getitem__(self, place: int | slice) -> Quarantined | list[Quarantined]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return Quarantined(**orjson.loads(self._spool[self._numbers[place]]))

    def _count(self, record: Quarantined, number: int) -> None:
        for reason in record.reason.split("+"):
            self._reasons[reason] += number
        self._kinds[record.kind if record.action == "dropped" else "changed"] += number
