"""Refuses model folders that could run code, before anything in them is loaded. Base models and the server share it.

Weights come as safetensors, which hold numbers only. Everything else that could make a library run code, or read files
outside the folder, is refused: pickles, programs, configuration that names code, adapters, and links that lead out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill"})
# h5 and Keras files can hold code as well (lambda layers, custom objects).
CODE = frozenset({".py", ".pyc", ".pyo", ".pyw", ".pyd", ".so", ".dll", ".dylib", ".h5", ".keras"})
# `auto_mapping` is of PEFT, which imports the library that it names.
CODE_KEYS = frozenset({"auto_map", "auto_mapping", "custom_pipelines", "trust_remote_code"})
# An implementation with a slash names a repository of kernels, which would be downloaded and run (CVE-2026-4372).
IMPLEMENTATION_KEYS = ("attn_implementation", "experts_implementation")
# transformers loads the model that an adapter names, from wherever that is.
ADAPTER = "adapter_config.json"
INDEX_SUFFIX = ".safetensors.index.json"
NO_SETTINGS = frozenset({"tokenizer.json", "vocab.json"})
SHOWN = 3


class UnsafeModel(ValueError):
    """The folder holds a file that could run code when it is loaded."""


class UnreadableModel(ValueError):
    """A configuration of the folder is not valid JSON."""


def refuse_unsafe(folder: Path) -> None:
    """Check that nothing in the folder could run code or leads out of it.

    Subfolders count too; hidden ones such as `.git` don't. Raises UnsafeModel, or UnreadableModel for broken JSON, with
    the file and the remedy.
    """
    files = sorted(_visible_files(folder))
    _refuse_links(folder, files)
    if ADAPTER in files:
        raise UnsafeModel(
            f"{folder / ADAPTER} names a model elsewhere that would be loaded; merge the adapter with its model "
            "(merge_and_unload) and use that"
        )
    _refuse_suffixes(
        folder, files, PICKLES, "a pickle can run code when it is loaded; keep the weights as safetensors and remove it"
    )
    _refuse_suffixes(
        folder,
        files,
        CODE,
        "code that comes with a model is never run; remove it if transformers knows the architecture",
    )
    for name in files:
        path = PurePosixPath(name)
        if path.suffix.lower() == ".json" and path.name not in NO_SETTINGS:
            content = read_json(folder / name)
            refuse_code_in_configuration(content, f"{folder / name}")
            if name.endswith(INDEX_SUFFIX):
                _refuse_foreign_shards(content, folder / name)


def refuse_code_in_configuration(configuration: Any, where: str) -> None:
    """Check that `configuration`, read from the JSON file `where`, names no code. Raises UnsafeModel otherwise."""
    for key, value in _pairs(configuration):
        if key in CODE_KEYS and value:
            raise UnsafeModel(
                f"{where} has {key!r}: code that comes with a model is never run; "
                f"remove that entry if transformers knows the architecture without it"
            )
        if any(name in key for name in IMPLEMENTATION_KEYS) and "/" in str(value):
            raise UnsafeModel(
                f"{where} has {key!r}: {value!r}, which makes transformers download code; remove that entry"
            )


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises UnreadableModel when it is not valid JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise UnreadableModel(f"{path} is not valid JSON ({e}); get the model again") from e


def is_pickle(name: str) -> bool:
    """Whether a file of that name is read as a pickle, or as an archive that may hold one."""
    return PurePosixPath(name).suffix.lower() in PICKLES


def _refuse_links(folder: Path, files: Iterable[str]) -> None:
    allowed = [folder.resolve()]
    if folder.absolute().parent.name == "snapshots":  # of the hub's cache, whose files are links to its blobs
        allowed.append((folder.absolute().parent.parent / "blobs").resolve())
    for name in files:
        path = folder / name
        if not path.is_symlink():
            continue
        target = path.resolve()
        if target.is_dir() or not target.exists() or not any(target.is_relative_to(place) for place in allowed):
            raise UnsafeModel(f"{path} is a link out of the model folder, to {target}; put a copy of the file there")


def _refuse_suffixes(folder: Path, files: Iterable[str], suffixes: frozenset[str], reason: str) -> None:
    found = [name for name in files if PurePosixPath(name).suffix.lower() in suffixes]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise UnsafeModel(f"the model folder {folder} holds {', '.join(found[:SHOWN])}{more}: {reason}")


def _refuse_foreign_shards(index: Any, where: Path) -> None:
    shards = index.get("weight_map") if isinstance(index, dict) else None
    for name in set(map(str, shards.values())) if isinstance(shards, dict) else ():
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise UnsafeModel(
                f"{where} names {name!r}, which is no safetensors file of this folder; get the model again"
            )


def _visible_files(folder: Path) -> Iterator[str]:
    """Yield the paths of files and of links, also of those to folders, relative to the folder."""
    for path, folders, files in os.walk(folder):
        links = [name for name in folders if Path(path, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(".") and name not in links]
        for name in (*files, *links):
            if not name.startswith("."):
                yield Path(path, name).relative_to(folder).as_posix()


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)
