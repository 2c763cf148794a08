"""The check of model folders that the server makes too (`serving_code/safety.py`), with the errors of base models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from phi_assets.base_models.model_errors import IncompleteModel, UnsafeModel
from serving_code import safety
from serving_code.safety import is_pickle

__all__ = ["is_pickle", "read_json", "refuse_unsafe_folder"]


def refuse_unsafe_folder(folder: Path) -> None:
    """Check that nothing in the folder could run code. Raises UnsafeModel or IncompleteModel."""
    with _errors_of_base_models():
        safety.refuse_unsafe(folder)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file. Raises IncompleteModel when it is not valid JSON."""
    with _errors_of_base_models():
        return safety.read_json(path)


@contextmanager
def _errors_of_base_models() -> Iterator[None]:
    try:
        yield
    except safety.UnsafeModel as e:
        raise UnsafeModel(str(e)) from e
    except safety.UnreadableModel as e:
        raise IncompleteModel(str(e)) from e
