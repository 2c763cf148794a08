"""What holds words that were taken back: dataset versions, models that were trained on them, copies of databases."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from phi_assets.conversations.feedback.tombstones import pair_hash
from phi_assets.databases import COPIES
from phi_assets.files import read_json
from phi_assets.records import ModelVersion, Record

REMEDY = "`phi clean` removes it"


def dataset_versions(state: Path, pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the digests of the versions with a row that has one of the questions and its answer."""
    written = [tuple(json.dumps(text, ensure_ascii=False).encode() for text in pair) for pair in pairs]
    return tuple(sorted(digest for digest, folder in _versions(state) if _has_row(folder, written)))


def models(state: Path, datasets: Sequence[str]) -> tuple[str, ...]:
    """Return the digests of the models that were trained on these dataset versions."""
    found = (Record.load(file) for file in (state / "models").glob("*/record.json"))
    return tuple(
        sorted(each.digest for each in found if isinstance(each, ModelVersion) and each.dataset_digest in datasets)
    )


def copies(state: Path, texts: Sequence[str]) -> tuple[str, ...]:
    """Return the copies of databases that hold one of the texts."""
    files = (file for file in (state / COPIES).rglob("*") if file.is_file())
    return tuple(sorted(str(file) for file in files if _holds(file, texts)))


def newest_rows(state: Path) -> int | None:
    """Return the number of rows of the newest dataset version; None before the first."""
    newest = _newest(state)
    return sum(_rows_in(newest[1])) if newest else None


def in_rows_of_others(state: Path) -> Iterator[str]:
    """Yield the hash of each question with its answer in the newest version's rows that came from no review."""
    newest = _newest(state)
    if newest is None:
        return
    folder, manifest = newest
    reviewed = set(manifest.get("reviewed_rows", ()))
    for file in folder.glob("*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if row.get("id") in reviewed or not isinstance(row.get("messages"), list):
                    continue
                turns = [(turn["role"], turn["content"]) for turn in row["messages"]]
                for (role, question), (other, answer) in pairwise(turns):
                    if (role, other) == ("user", "assistant"):
                        yield pair_hash(question, answer)


def _versions(state: Path) -> Iterator[tuple[str, Path]]:
    for file in (state / "datasets").glob("*/manifest.json"):
        yield str(read_json(file, REMEDY).get("digest", file.parent.name)), file.parent


def _newest(state: Path) -> tuple[Path, Mapping[str, Any]] | None:
    files = list((state / "datasets").glob("*/manifest.json"))
    if not files:
        return None
    newest = max(files, key=lambda file: file.stat().st_mtime)
    return newest.parent, read_json(newest, REMEDY)


def _rows_in(manifest: Mapping[str, Any]) -> Iterator[int]:
    return (manifest["files"][f"{split}.jsonl"]["rows"] for split in ("train", "validation", "test"))


def _holds(file: Path, texts: Sequence[str]) -> bool:
    """Return whether a database's copy holds one of the texts."""
    content = file.read_bytes()
    return any(text.encode() in content for text in texts)


def _has_row(version: Path, written: Sequence[tuple[bytes, ...]]) -> bool:
    """Return whether a dataset version has a row with one of the questions and its answer, as JSON has them."""
    for file in version.glob("*.jsonl"):
        with file.open("rb") as lines:
            if any(question in line and answer in line for line in lines for question, answer in written):
                return True
    return False
