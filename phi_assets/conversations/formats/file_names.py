"""Which files of a folder hold conversations, by their names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".csv", ".tsv")
COMPRESSED = (".gz", ".zst")
SUPPORTED = f"{', '.join(SUFFIXES)}, also with {' or '.join(COMPRESSED)} after it"
_OF_DATASETS = frozenset({"state.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"})


def data_suffix(name: str) -> str:
    """The ending that names the format, in lower case: `.jsonl` of rows.jsonl.gz."""
    path = PurePosixPath(name.lower())
    return PurePosixPath(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def is_data(name: str) -> bool:
    """Whether a file of this name may hold conversations."""
    return data_suffix(name) in SUFFIXES


def beside_arrow(names: Collection[str]) -> set[str]:
    """Those of the names that a folder of `save_to_disk` has besides its data: descriptions, and files of its cache."""
    arrow = {PurePosixPath(name).parent for name in names if name.lower().endswith(".arrow")}
    around = {parent for folder in arrow for parent in (folder, *folder.parents)}
    saved = {PurePosixPath(name).parent for name in names if PurePosixPath(name).name == "state.json"}
    return {
        name
        for name in names
        if (PurePosixPath(name).name in _OF_DATASETS and PurePosixPath(name).parent in around)
        or (
            PurePosixPath(name).name.startswith("cache-")
            and name.endswith(".arrow")
            and PurePosixPath(name).parent in saved
        )
    }
