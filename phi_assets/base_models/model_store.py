"""Prepared models on disk: one folder per content digest, and one record per requested model name.

``<root>/<digest>/`` is a model folder; ``<root>/records/<key>.json`` maps a base model's name to its folder and
the sizes of the files. A folder is built in a temporary place and renamed, so an existing model is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from phi_assets.files import atomic_write, file_sha256, locked
from phi_assets.records import BaseModel

DIGEST_LENGTH = 32


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine, ready to be loaded.

    ``parameters`` counts tied weights once; ``context_length`` is in tokens; ``notes`` document how
    the model was converted and changed.
    """

    address: Path
    digest: str
    source: str
    notes: list[str]
    parameters: int
    architecture: str
    context_length: int

    def record(self) -> BaseModel:
        """The record that passes between assets."""
        return BaseModel(
            digest=self.digest,
            address=str(self.address),
            source=self.source,
            architecture=self.architecture,
            parameters=self.parameters,
            context_length=self.context_length,
            notes=tuple(self.notes),
        )


@dataclass(frozen=True)
class ModelRecord:
    """The stored result for a base model's name: locates the folder and verifies that it is complete."""

    text: str
    source_state: str
    digest: str
    source: str
    notes: list[str]
    parameters: int
    architecture: str
    context_length: int
    files: dict[str, dict[str, Any]]
    """Per file name: bytes, modified_ns and sha256."""

    def resolved(self, root: Path) -> ResolvedModel:
        return ResolvedModel(
            root / self.digest,
            self.digest,
            self.source,
            list(self.notes),
            self.parameters,
            self.architecture,
            self.context_length,
        )


def read_record(root: Path, text: str) -> ModelRecord | None:
    """The record of ``text``; None when it or its model folder is missing or damaged."""
    return _read(root, _record_path(root, text))


def find_model(root: Path, digest: str) -> ResolvedModel | None:
    """The complete model with that digest under ``root``, or None."""
    for path in sorted((root / "records").glob("*.json")):
        record = _read(root, path)
        if record is not None and record.digest == digest:
            return record.resolved(root)
    return None


def write_record(root: Path, record: ModelRecord) -> None:
    """Write the record atomically."""
    path = _record_path(root, record.text)
    atomic_write(path, json.dumps(asdict(record), indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def build_folder(root: Path) -> Iterator[Path]:
    """Yield a temporary folder under ``root`` to build a model in, under a lock; it is deleted after the block.

    Folders of killed processes are deleted too.
    """
    with locked(root / ".lock"):
        for left_behind in root.glob(".making-*"):
            shutil.rmtree(left_behind, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=root) as folder:
            yield Path(folder)


def publish(root: Path, folder: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """Move the model in ``folder`` to its place under ``root``; return its digest and the facts of its files.

    Call it inside ``build_folder``. An intact model in that place stays, since other processes may read it; a damaged
    one is replaced.
    """
    files = _read_files(folder)
    listing = "".join(f"{facts['sha256']}  {name}\n" for name, facts in files.items())
    digest = hashlib.sha256(listing.encode()).hexdigest()[:DIGEST_LENGTH]
    place = root / digest
    if place.exists():
        existing = _read_files(place)
        if _checksums(existing) == _checksums(files):
            return digest, existing
        place.rename(folder.parent / "damaged")
    folder.rename(place)
    return digest, files


def _record_path(root: Path, text: str) -> Path:
    return root / "records" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _read(root: Path, path: Path) -> ModelRecord | None:
    try:
        record = ModelRecord(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    folder = root / record.digest
    if not folder.is_dir() or {entry.name for entry in folder.iterdir()} != set(record.files):
        return None
    modified = [name for name, facts in record.files.items() if _differs(folder / name, facts)]
    if not modified:
        return record
    # Copying a home only changes modification times: hash the modified files once, and store their new times.
    now = {name: _facts(folder / name) for name in modified}
    if _checksums(now) != {name: record.files[name]["sha256"] for name in modified}:
        return None
    record = replace(record, files={**record.files, **now})
    with contextlib.suppress(OSError):
        write_record(root, record)
    return record


def _differs(path: Path, facts: dict[str, Any]) -> bool:
    stat = path.stat()
    return stat.st_size != facts["bytes"] or stat.st_mtime_ns != facts["modified_ns"]


def _read_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Size in bytes, time of change and SHA-256 of each entry of ``folder``, by name."""
    return {path.name: _facts(path) for path in sorted(folder.iterdir()) if path.is_file()}


def _checksums(files: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: facts["sha256"] for name, facts in files.items()}


def _facts(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return {"bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "sha256": file_sha256(path)}
