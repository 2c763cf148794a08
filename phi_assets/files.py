"""Files and folders: written in one step, and known by the SHA-256 of their content."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

NEVER_UPLOADED = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")

ENVIRONMENT = "environment"
SOURCE_SUFFIXES = frozenset({".py", ".yaml", ".yml", ".jinja", ".jinja2", ".txt", ".json", ".toml", ".Dockerfile", ""})


def atomic_write(file: Path, text: str) -> None:
    """The file holds the text and only this user reads it; who reads it meanwhile finds the old text or the new one."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as draft:
        draft.write(text)
    os.replace(draft.name, file)


@cache
def tree_digest(tree: Path) -> str:
    """SHA-256 over the names and bytes of a source file, or of every source file in a tree.

    A program's `environment/` is not of the program: it is the recipe of an image, and a tree of its own.
    """
    digest = hashlib.sha256()
    for path in _source_files(tree):
        digest.update(f"{path.relative_to(tree.parent).as_posix()}\0".encode())
        digest.update(path.read_bytes())
        digest.update(b"\0")
    return digest.hexdigest()


def _source_files(tree: Path) -> Iterable[Path]:
    if tree.is_file():
        return [tree]
    found = (path for path in tree.rglob("*") if path.is_file() and path.suffix in SOURCE_SUFFIXES)
    apart = {"__pycache__", ".promptflow", ENVIRONMENT}
    return sorted(path for path in found if apart.isdisjoint(path.relative_to(tree).parts))
