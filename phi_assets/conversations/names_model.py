"""Finds names and addresses with a model that the user keeps in a folder: spaCy's or GLiNER's.

No pattern finds names, so without such a model they stay. spaCy is among the project's packages; GLiNER is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from phi_assets.conversations.credentials import Finding
from phi_assets.conversations.rows import SourceError

# The labels of the models of spaCy's languages, and those that GLiNER is asked for.
_SPACY = {"PERSON": "PERSON", "PER": "PERSON", "PS": "PERSON", "persName": "PERSON", "ADDRESS": "ADDRESS"}
_GLINER = {"person name": "PERSON", "postal address": "ADDRESS"}
_LEAST = 0.5
_MOST_CHARACTERS = 1_000  # that GLiNER reads at once; it cuts what is longer

Find = Callable[[str], Iterable[Finding]]


class NamesModelError(SourceError):
    """A folder that has no usable model, or a package that is missing."""


def find_names(text: str, folder: str) -> list[Finding]:
    """Names and addresses in the text, by the model of the folder. Raises NamesModelError."""
    return list(load(folder)(text))


@cache
def load(folder: str) -> Find:
    """The model of a folder as a function. Raises NamesModelError."""
    path = Path(folder).expanduser()
    if (path / "gliner_config.json").is_file():
        return _gliner(path)
    if (path / "config.cfg").is_file() and (path / "meta.json").is_file():
        return _spacy(path)
    raise NamesModelError(
        f"PHI_NAMES_MODEL: {folder} has no model of spaCy (config.cfg, meta.json) or GLiNER (gliner_config.json); "
        "give the folder that its package or download has"
    )


def _spacy(path: Path) -> Find:
    try:
        import spacy

        model = spacy.load(path)
    except Exception as e:
        raise NamesModelError(f"PHI_NAMES_MODEL: spaCy cannot load {path}: {e}") from e

    def find(text: str) -> Iterable[Finding]:
        for entity in model(text).ents:
            if entity.label_ in _SPACY:
                yield Finding(entity.start_char, entity.end_char, _SPACY[entity.label_])

    return find


def _gliner(path: Path) -> Find:
    try:
        from gliner import GLiNER  # pyright: ignore[reportMissingImports]
    except ImportError as e:
        raise NamesModelError(
            f"PHI_NAMES_MODEL: {path} has a model of GLiNER, whose package is missing; `pip install gliner`, or give a "
            "folder of spaCy"
        ) from e
    try:
        model = GLiNER.from_pretrained(str(path), local_files_only=True)
    except Exception as e:
        raise NamesModelError(f"PHI_NAMES_MODEL: GLiNER cannot load {path}: {e}") from e

    def find(text: str) -> Iterable[Finding]:
        for start in range(0, len(text), _MOST_CHARACTERS):
            part = text[start : start + _MOST_CHARACTERS]
            for entity in model.predict_entities(part, list(_GLINER), threshold=_LEAST):
                yield Finding(start + entity["start"], start + entity["end"], _GLINER[entity["label"]])

    return find
