"""Reads the files of a Hugging Face model folder: settings as JSON, weights one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export_code.errors import CannotExport

if TYPE_CHECKING:
    import numpy as np

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises CannotExport."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise CannotExport(f"{path} is missing; give the folder of a prepared or trained model") from e
    except (ValueError, OSError) as e:
        raise CannotExport(f"{path} cannot be read ({e}); train the model again") from e
    if not isinstance(content, dict):
        raise CannotExport(f"{path} is not a JSON object; train the model again")
    return content


def chat_template(folder: Path) -> str:
    """The chat template. Raises CannotExport: without it, nobody can ask the model as it was trained."""
    try:
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    except OSError as e:
        raise CannotExport(f"{folder} has no chat_template.jinja; give the folder of a trained model") from e


class Weights:
    """The weights of a folder. Each is read when it is asked for, so that memory holds one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = folder / INDEX
        names = sorted(set(read_json(index).get("weight_map", {}).values())) if index.is_file() else [SINGLE]
        self._file_of = {name: file for file in names for name in self._names(file)}

    def names(self) -> list[str]:
        """Names of all weights, in the order of their files."""
        return list(self._file_of)

    def files(self) -> list[str]:
        """Names of the files that hold the weights."""
        return sorted(set(self._file_of.values()))

    def shape(self, name: str) -> tuple[int, ...]:
        with self._open(self._file_of[name]) as file:
            return tuple(file.get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """The weight as float32."""
        import torch

        with self._open(self._file_of[name]) as file:
            return file.get_tensor(name).to(torch.float32).numpy()

    def _names(self, file: str) -> Iterator[str]:
        from safetensors import SafetensorError

        try:
            with self._open(file) as weights:
                yield from weights.keys()
        except (SafetensorError, OSError) as e:
            raise CannotExport(f"{self._folder / file} cannot be read ({e}); train the model again") from e

    def _open(self, file: str) -> Any:
        from safetensors import safe_open

        return safe_open(self._folder / file, framework="pt")
