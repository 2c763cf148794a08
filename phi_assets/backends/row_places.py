"""The split and group of every row that was ever published: with them a row keeps its split for ever."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import orjson

from phi_assets.conversations.grouping import Assignment, Placed
from phi_assets.files import atomic_write


class PlacesChanged(RuntimeError):
    """Another dataset was published since the places were read: prepare again with the new ones."""


class Places(Protocol):
    """The places of all published rows of a project."""

    def assignment(self) -> Assignment:
        """Return the place of every row that was ever published."""
        ...

    def add(self, rows: Assignment) -> None:
        """Store the places of rows about to be published. Raises PlacesChanged, and then stores nothing."""
        ...


class PlacesFile:
    """Places in a file of this machine, a line for each row. `published` yields those in the versions on disk."""

    def __init__(self, file: Path, published: Callable[[], Iterable[tuple[str, Placed]]] = tuple) -> None:
        self.file = file
        self._published = published

    def assignment(self) -> Assignment:
        """Return the place of every row; where lines are lost, also those in the versions on disk."""
        places, damaged = self._recorded()
        if damaged:
            for row, place in self._published():
                places.setdefault(row, place)
        return places

    def add(self, rows: Assignment) -> None:
        """Add the places of new rows; repair the file. Raises PlacesChanged for a row that has another split."""
        known = self.assignment()
        refuse_moved(rows, known)
        new = {row: place for row, place in rows.items() if row not in known}
        _, damaged = self._recorded()
        if damaged:
            atomic_write(self.file, to_lines({**known, **new}))
            return
        with self.file.open("ab") as stream:
            stream.write(to_lines(new))
            stream.flush()
            os.fsync(stream.fileno())

    def _recorded(self) -> tuple[dict[str, Placed], bool]:
        """Return the places in the file, and whether some may be missing there."""
        try:
            content = self.file.read_bytes()
        except FileNotFoundError:
            content = b""
        places, damaged = from_lines(content)
        return places, damaged or not content


def refuse_moved(rows: Assignment, known: Assignment) -> None:
    """Raise PlacesChanged when a row has another split than the one it was published in."""
    moved = [row for row, place in rows.items() if row in known and known[row].side != place.side]
    if moved:
        raise PlacesChanged(
            f"{len(moved)} rows, {moved[0]} among them, were published in another split meanwhile; prepare again"
        )


def to_lines(places: Assignment) -> bytes:
    """Return a line of JSON for each row: id, split and group."""
    # Joined at once, they would need 4 kB each: the results of orjson keep the room that they were written in.
    lines = bytearray()
    for row, place in places.items():
        lines += orjson.dumps((row, place.side, place.group), option=orjson.OPT_APPEND_NEWLINE)
    return bytes(lines)


def from_lines(content: bytes) -> tuple[dict[str, Placed], bool]:
    """Return the places in the lines, the first of each row, and whether a line is damaged."""
    places: dict[str, Placed] = {}
    damaged = False
    for line in io.BytesIO(content):
        try:
            row, side, group = orjson.loads(line)
            places.setdefault(row, Placed(side, row if group == row else group))  # one text, for memory
        except (ValueError, TypeError):
            # Also one that was truncated when a publisher was killed; its rows were not published.
            damaged = damaged or bool(line.strip())
    return places, damaged
