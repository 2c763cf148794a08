"""Caches the drift between two dataset versions by their digests: a version never changes, and nor does their drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import orjson

from phi_assets.conversations.drift import Drift, drift_since
from phi_assets.files import atomic_write

_MOST = 100  # pairs; the oldest are dropped


class DriftCache:
    """The drifts that a home has measured, in a small JSON file. Where that is lost, they are measured again."""

    def __init__(self, state: Path) -> None:
        self._file = state / "drift.json"

    def find(self, trained_on: str, dataset: str) -> Drift | None:
        """Return the drift between the versions with these digests; None when it was not measured yet."""
        try:
            return Drift(**self._read()[_key(trained_on, dataset)])
        except (KeyError, TypeError):
            return None

    def measured(self, trained_on: str, dataset: str, folders: Callable[[], tuple[Path, Path] | None]) -> Drift | None:
        """Return the drift, measured and stored if it is not known; None when `folders` finds no files to compare.

        `folders` returns the two versions' folders, and is called only where the drift is not known.
        """
        known = self.find(trained_on, dataset)
        if known:
            return known
        found = folders()
        if found is None:
            return None
        drift = drift_since(*found)
        stored = {**self._read(), _key(trained_on, dataset): dataclasses.asdict(drift)}
        atomic_write(self._file, orjson.dumps(dict(list(stored.items())[-_MOST:])))
        return drift

    def _read(self) -> dict:
        with suppress(OSError, ValueError):
            stored = orjson.loads(self._file.read_bytes())
            if isinstance(stored, dict):
                return stored
        return {}


def _key(trained_on: str, dataset: str) -> str:
    return f"{trained_on} {dataset}"
