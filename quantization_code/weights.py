"""Reads the weights of a model folder, one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from quantization_code.errors import CannotQuantize

if TYPE_CHECKING:
    import numpy as np

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Weights:
    """The weights of a folder. Each is read when it is asked for, so that memory holds one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        index = folder / INDEX
        names = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.is_file() else [SINGLE]
        self._file_of = {name: file for file in names for name in self._names(file)}

    def read(self, name: str) -> np.ndarray:
        """The weight as float32. Raises CannotQuantize."""
        import torch
        from safetensors import safe_open

        if name not in self._file_of:
            raise CannotQuantize(f"{self._folder} has no weight {name}; train the model again")
        with safe_open(self._folder / self._file_of[name], framework="pt") as file:
            return file.get_tensor(name).to(torch.float32).numpy()

    def _names(self, file: str) -> list[str]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._folder / file, framework="pt") as weights:
                return list(weights.keys())
        except (SafetensorError, OSError) as e:
            raise CannotQuantize(f"{self._folder / file} cannot be read ({e}); train the model again") from e
