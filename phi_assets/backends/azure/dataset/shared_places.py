"""Places of published rows in blob storage, for all machines of a project: numbered files that never change.

Each publisher creates the file of the next number, on the condition that it does not exist. One who finds it taken
reads it and prepares again: a row keeps the split that it was first given, whoever published it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.backends.row_places import PlacesChanged, PlacesFile, from_lines, refuse_moved, to_lines
from phi_assets.conversations.grouping import Assignment, Placed
from phi_assets.files import atomic_write

ROOT = "phi/places/"
NAME = re.compile(rf"{ROOT}(\d{{6}})\.jsonl")
SHARED = ".shared"  # suffix of this machine's own file, once all that it says is shared
NAMED = 3


class SharedPlaces:
    """The places of a project. `cache` has copies of the files, by name and ETag.

    `own` are places that this machine stored before they were shared, or of a workspace that was deleted: what is
    shared is stronger, and the rest is shared with the next publication.
    """

    def __init__(self, blobs: WorkspaceBlobs, cache: Path, own: PlacesFile) -> None:
        self._blobs, self._cache, self._own = blobs, cache, own
        self._next = 1
        self._shared: Assignment = {}
        self._known: Assignment = {}

    def assignment(self) -> Assignment:
        """Return the place of every row. Logs how many rows have another split in versions of this machine."""
        stored = {name: etag for name, etag in self._blobs.etags(ROOT).items() if NAME.fullmatch(name)}
        self._next = max((int(name[len(ROOT) :].partition(".")[0]) for name in stored), default=0) + 1
        files = [self._fetched(name, stored[name]) for name in sorted(stored)]
        self._shared = _merged(files)
        former = sorted(set(self._cache.glob("*.jsonl")) - set(files))
        own = {**_merged(former), **(self._own.assignment() if not self._is_shared else {})}
        leaked = [row for row, place in own.items() if row in self._shared and self._shared[row].side != place.side]
        if leaked:
            self._blobs.log(
                f"warning: {len(leaked)} rows ({', '.join(leaked[:NAMED])}) have another split in this project than in "
                "versions that this machine published alone; a model that was trained on those may have learned rows "
                "that it is tested on now: train it again"
            )
        self._known = {**own, **self._shared}
        return self._known

    def add(self, rows: Assignment) -> None:
        """Share the places of new rows. Raises PlacesChanged when another machine published since `assignment`."""
        refuse_moved(rows, self._known)
        new = {row: place for row, place in {**self._known, **rows}.items() if row not in self._shared}
        if new:
            name, content = f"{ROOT}{self._next:06d}.jsonl", to_lines(new)
            if not self._blobs.create(name, content):
                raise PlacesChanged("another machine published conversations meanwhile; prepare again")
            self._fetched(name, self._blobs.etags(name)[name])  # for when the workspace is deleted
        if not self._is_shared:
            if self._own.file.is_file():
                self._own.file.replace(self._end)
            else:
                atomic_write(self._end, "")

    @property
    def _end(self) -> Path:
        return self._own.file.with_name(self._own.file.name + SHARED)

    @property
    def _is_shared(self) -> bool:
        """Whether this machine's own places were shared: what its versions say of them is in the project's files."""
        return self._end.is_file() and not self._own.file.is_file()

    def _fetched(self, name: str, etag: str) -> Path:
        file = self._cache / f"{Path(name).stem}-{hashlib.sha256(etag.encode()).hexdigest()[:16]}.jsonl"
        if not file.is_file():
            atomic_write(file, self._blobs.read(name))
        return file


def _merged(files: list[Path]) -> Assignment:
    """Return the places in the files; of a row in several, the first."""
    merged: dict[str, Placed] = {}
    for file in files:
        for row, place in from_lines(file.read_bytes())[0].items():
            merged.setdefault(row, place)
    return merged
