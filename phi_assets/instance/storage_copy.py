"""Dagster's storage of a home whose disk takes no write: read from a copy in the folder for temporary files."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg

from phi_assets import databases
from phi_assets.graph.dagster_internals import open_instance
from phi_assets.project import PROJECT
from phi_assets.settings import Settings


@contextmanager
def snapshot(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open a copy of the home's Dagster instance, without the logs of single runs; it is deleted after the block.

    SQLite writes an index beside a database even to read it, so a full or read-only disk cannot be read in place.
    Raises DamagedFile, and OSError where there is no room for the copy.
    """
    databases.require_sound(settings.state)
    with tempfile.TemporaryDirectory(prefix="phi-status-") as folder:
        home = Path(folder, settings.dagster_home.name)
        for name in databases.COPIED:
            source = settings.state / name
            if not source.is_relative_to(settings.dagster_home):
                continue
            target = home / source.relative_to(settings.dagster_home)
            target.parent.mkdir(parents=True, exist_ok=True)
            for suffix in ("", databases.WAL):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f"{source}{suffix}", f"{target}{suffix}")
        shutil.copyfile(PROJECT / "dagster.yaml", home / "dagster.yaml")
        with open_instance(home) as opened:
            yield opened
