"""Replay sets in folders by digest: what both backends do with what `evaluation_code.replay` wrote."""

import json
from pathlib import Path
from typing import Any

from phi_assets.backends import content_store
from phi_assets.files import atomic_write, file_sha256
from phi_assets.records import BaseModel, Replay

ROWS, REPORT = "replay.jsonl", "replay.json"


def find(root: Path, digest: str) -> Replay | None:
    """The stored set with the digest, if its rows are intact; otherwise None."""
    found = content_store.find(root, digest, lambda folder: _is_intact(folder / ROWS, digest))
    return found if isinstance(found, Replay) else None


def keep(staged: Path, root: Path, base: BaseModel) -> Replay:
    """Move the folder `staged` of a finished set to its place under `root`, and return its record."""
    digest, report = file_sha256(staged / ROWS), read(staged)
    folder = content_store.accept(staged, root, digest)
    replay = Replay(
        digest=digest, address=str(folder), base_digest=base.digest, conversations=int(report["conversations"])
    )
    content_store.put(replay, folder)
    return replay


def keep_nothing(root: Path, work: Path, base: BaseModel) -> Replay:
    """The empty set, when nothing is to be replayed."""
    work.mkdir(parents=True, exist_ok=True)
    atomic_write(work / ROWS, "")
    atomic_write(work / REPORT, json.dumps({"conversations": 0, "sources": []}))
    return keep(work, root, base)


def read(folder: Path) -> dict[str, Any]:
    """The report of the set in the folder: conversations, and of each source what was kept and left out."""
    return json.loads((folder / REPORT).read_text(encoding="utf-8"))


def _is_intact(rows: Path, digest: str) -> bool:
    return rows.is_file() and file_sha256(rows) == digest
