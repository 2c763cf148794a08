"""Published dataset versions on disk: one immutable folder for each content, named by its digest."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from phi_assets.backends.row_places import Places, PlacesFile
from phi_assets.conversations.grouping import SIDES, Assignment, Placed, Side
from phi_assets.conversations.prepare import as_object
from phi_assets.conversations.quarantine import Quarantined
from phi_assets.conversations.splitting import SplitRow
from phi_assets.files import atomic_write, file_sha256, locked

MANIFEST = "manifest.json"
QUARANTINE = "quarantine.jsonl"
PREFERENCES = "preferences.jsonl"
_LATEST = "LATEST"
_PLACES = "places.jsonl"


@dataclass(frozen=True)
class Published:
    """A published dataset version: its folder, the digest of its splits and pairs, and its manifest."""

    folder: Path
    digest: str
    manifest: Mapping[str, Any]


class DatasetFolders:
    """Dataset versions in the folder `root`, which is created if missing.

    `root` also holds `LATEST`, the digest of the last version. `places` has the split and group of every row that was
    ever published; without it they are in `root`, in `places.jsonl`.
    """

    def __init__(self, root: Path, places: Places | None = None) -> None:
        self.root = root
        self.places = places or self.own_places()

    def own_places(self) -> PlacesFile:
        """Return the places of this folder, which those of several machines replace."""
        return PlacesFile(self.root / _PLACES, self._published_places)

    def publish(
        self,
        rows: Mapping[Side, Sequence[SplitRow]],
        quarantine: Iterable[Quarantined],
        facts: Mapping[str, Any],
        preferences: Sequence[Mapping[str, Any]] = (),
    ) -> Published:
        """Publish these rows and preference pairs as the latest version. The same ones are the same version.

        They never change once published; quarantine and manifest describe the source at the last publication. There
        is a file of preferences only when there are any. The folder is published atomically, and replaces a damaged
        one. Raises PlacesChanged if a published row would change its split.
        """
        with self._locked():
            draft = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.root))
            files: dict[str, dict[str, Any]] = {}
            places: dict[str, Placed] = {}

            def lines(side: Side) -> Iterator[bytes]:
                for row in rows[side]:
                    places[row.id] = Placed(side, row.group)
                    yield _line(row)

            for side in SIDES:
                files[f"{side}.jsonl"] = _write(draft / f"{side}.jsonl", lines(side))
            if preferences:
                files[PREFERENCES] = _write(draft / PREFERENCES, map(_json_line, preferences))
            digest = _digest(files)
            self.places.add(places)  # before the version becomes visible
            files[QUARANTINE] = _write(draft / QUARANTINE, (record.to_line() for record in quarantine))
            manifest = {"digest": digest, "files": files, **facts, "created_at": datetime.now(UTC).isoformat()}
            _write(draft / MANIFEST, [orjson.dumps(manifest, option=orjson.OPT_INDENT_2)])
            self._install(draft, digest)
            atomic_write(self.root / _LATEST, digest)
            return Published(self.root / digest, digest, _read_manifest(self.root / digest))

    def find(self, digest: str) -> Published | None:
        """The version with this digest; None when it is missing or a file has the wrong size."""
        folder = self.root / digest
        try:
            manifest = _read_manifest(folder)
            whole = all((folder / name).stat().st_size == file["bytes"] for name, file in manifest["files"].items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Published(folder, digest, manifest) if whole and manifest.get("digest") == digest else None

    def verify(self, digest: str) -> list[str]:
        """Messages on changed or missing files, after reading all of them; empty when they are as published."""
        found = self.find(digest)
        if found is None:
            return [f"{self.root / digest} is missing or incomplete"]
        files = found.manifest["files"]
        actual = {name: file_sha256(found.folder / name) for name in files}
        wrong = [f"{found.folder / name} was changed" for name in files if actual[name] != files[name]["sha256"]]
        if _digest(files) != digest:
            wrong.append(f"{found.folder / MANIFEST} does not belong to this version")
        return wrong

    def latest(self) -> Published | None:
        """The version that was published last; None before the first, or when it is damaged."""
        try:
            return self.find((self.root / _LATEST).read_text(errors="replace").strip())
        except OSError:
            return None

    def assignment(self) -> Assignment:
        """The place of every row that was ever published, whether or not its version is still on disk."""
        return self.places.assignment()

    def _published_places(self) -> Iterator[tuple[str, Placed]]:
        for folder in sorted(self.root.glob("[0-9a-f]*")):
            if self.find(folder.name) is None:
                continue
            for side in SIDES:
                with (folder / f"{side}.jsonl").open("rb") as file:
                    for line in file:
                        row = orjson.loads(line)
                        yield row["id"], Placed(side, row["group"])

    def _install(self, draft: Path, digest: str) -> None:
        folder = self.root / digest
        if not self.verify(digest):
            # The quarantine first: after a crash its size differs from the manifest, so the version counts as missing.
            for name in (QUARANTINE, MANIFEST):
                os.replace(draft / name, folder / name)
            shutil.rmtree(draft)
            return
        if folder.exists():
            os.rename(folder, Path(tempfile.mkdtemp(prefix=".damaged-", dir=self.root)) / digest)
        os.rename(draft, folder)
        _sync(self.root)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the publisher's lock; remove unfinished files of earlier publishers."""
        with locked(self.root / ".lock"):
            self._sweep()
            try:
                yield
            finally:
                self._sweep()

    def _sweep(self) -> None:
        for pattern in (".writing-*", ".damaged-*"):
            for left in self.root.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)
        for left in self.root.glob(f".{_LATEST}.*"):
            left.unlink(missing_ok=True)


def _line(row: SplitRow) -> bytes:
    value = {"id": row.id, "group": row.group, **as_object(row.conversation)}
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _json_line(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)


def _write(path: Path, lines: Iterable[bytes]) -> dict[str, Any]:
    """Write the lines with fsync, and return SHA-256, bytes and rows of the file."""
    digest, size, rows = hashlib.sha256(), 0, 0
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
            size += len(line)
            rows += 1
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o400)
    return {"sha256": digest.hexdigest(), "bytes": size, "rows": rows}


def _digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """SHA-256 over the content of the three splits and of preference pairs, if any; not of time or quarantine."""
    names = [*(f"{side}.jsonl" for side in SIDES), *([PREFERENCES] if PREFERENCES in files else [])]
    content = "".join(f"{name} {files[name]['sha256']}\n" for name in names)
    return hashlib.sha256(content.encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    return orjson.loads((folder / MANIFEST).read_bytes())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
