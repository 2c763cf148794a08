"""Addresses of raw conversations: a file, a folder, or a dataset of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from phi_assets.conversations.formats.file_names import SUPPORTED, beside_arrow, is_data
from phi_assets.conversations.rows import SourceError, shown

_HUB = re.compile(r"hf:(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?:(?P<split>.+)")


@dataclass(frozen=True)
class FileSource:
    """A file, or a folder with all its files."""

    path: Path

    def files(self) -> list[tuple[str, Path]]:
        """Pairs of relative name and path, sorted by name; hidden files and folders are left out.

        Raises SourceError when there is nothing to read.
        """
        if self.path.is_file():
            if not is_data(self.path.name):
                raise SourceError(f"{shown(self.path)} is not one of {SUPPORTED}; convert it to JSON Lines first")
            return [(shown(self.path.name), self.path)]
        if not self.path.is_dir():
            raise SourceError(
                f"no file or folder {shown(self.path)}; set PHI_DATASET to a file, a folder or hf:<dataset>:<split>"
            )
        found = {shown(path.relative_to(self.path).as_posix()): path for path in self._walk()}
        without = beside_arrow(found)
        if not found.keys() - without:
            raise SourceError(f"folder {shown(self.path)} holds no file ending in {SUPPORTED}; put the data there")
        return sorted((name, path) for name, path in found.items() if name not in without)

    def _walk(self) -> Iterator[Path]:
        for path in self.path.rglob("*"):
            hidden = any(part.startswith(".") for part in path.relative_to(self.path).parts)
            if is_data(path.name) and not hidden and path.is_file():
                yield path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True)
class HubSource:
    """A split of a dataset of the Hugging Face hub; `split` is an expression such as `train_sft[:1%]`."""

    name: str
    split: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf:{self.name}{'@' + self.revision if self.revision else ''}:{self.split}"


@dataclass(frozen=True)
class RowsFile:
    """Rows of `source` that were read elsewhere: one JSON object a line, of any length."""

    path: Path
    source: HubSource


def parse_source(text: str) -> FileSource | HubSource:
    """The source that `text` names: a path, or `hf:<dataset>[@revision]:<split expression>`.

    Nothing is opened yet. Raises SourceError for an empty text or a malformed `hf:` address.
    """
    text = text.strip()
    if not text:
        raise SourceError("the dataset is empty; name a file, a folder or hf:<dataset>[@revision]:<split>")
    if not text.startswith("hf:"):
        return FileSource(Path(text).expanduser())
    match = _HUB.fullmatch(text)
    if not match:
        raise SourceError(
            f"{text!r} is not hf:<dataset>[@revision]:<split>; "
            "for example hf:HuggingFaceH4/ultrachat_200k:train_sft[:1%]"
        )
    return HubSource(match["name"], match["split"], match["revision"])
