"""Refuses unsafe model folders before anything is loaded.

Weights come as safetensors, which hold numbers only; everything else in a model folder that could make a library run
code is refused: pickles, Python files, and configuration that names code.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from phi_assets.errors import IncompleteModel, UnsafeModel

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"})
# h5 and Keras files can hold code as well (lambda layers, custom objects).
CODE_SUFFIXES = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".h5", ".keras"})
CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "trust_remote_code"})
# An implementation with a slash names a repository of kernels, which would be downloaded and run (CVE-2026-4372).
IMPLEMENTATION_KEYS = ("attn_implementation", "experts_implementation")


def refuse_unsafe_folder(folder: Path) -> None:
    """Check that nothing in ``folder`` could run code. Raises UnsafeModel with the file and the remedy.

    Subfolders count too; hidden ones such as ``.git`` don't.
    """
    files = list(_visible_files(folder))
    _refuse_suffixes(
        files, PICKLE_SUFFIXES, "a pickle can run code when it is loaded; keep the weights as safetensors and remove it"
    )
    _refuse_suffixes(
        files,
        CODE_SUFFIXES,
        "code that comes with a model is never run; remove it if transformers knows the architecture",
    )
    for name in sorted(name for name in files if "/" not in name and name.endswith(".json")):
        if name not in ("tokenizer.json", "vocab.json"):
            refuse_code_in_configuration(read_json(folder / name), f"{folder / name}")


def refuse_code_in_configuration(configuration: Any, where: str) -> None:
    """Check that ``configuration``, read from the JSON file ``where``, names no code. Raises UnsafeModel otherwise."""
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
    """The content of a JSON file. Raises IncompleteModel when it is not valid JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise IncompleteModel(f"{path} is not valid JSON ({e}); get the model again") from e


def is_pickle(name: str) -> bool:
    """Whether a file of that name is read as a pickle, or as an archive that may hold one."""
    return Path(name).suffix.lower() in PICKLE_SUFFIXES


def _refuse_suffixes(files: Iterable[str], suffixes: frozenset[str], reason: str) -> None:
    found = sorted(name for name in files if Path(name).suffix.lower() in suffixes)
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise UnsafeModel(f"the model folder holds {', '.join(found[:3])}{more}: {reason}")


def _visible_files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if not any(part.startswith(".") for part in name.parts) and path.is_file():
            yield name.as_posix()


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _pairs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _pairs(inner)
