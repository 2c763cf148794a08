"""The home: the folder of all state, Dagster's storage in it, and the locks that `phi` commands hold."""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import dagster as dg
import yaml

from phi_assets import databases
from phi_assets.files import DamagedFile, atomic_write, errors_name, is_locked, lock, private
from phi_assets.graph.dagster_internals import open_instance, set_pool_limit
from phi_assets.instance import folders
from phi_assets.project import PROJECT
from phi_assets.settings import Settings, SettingsError

POOLS = {"training": 1}  # a new instance does not apply the default limit until a limit is set once


VERSION = "version"
WRITTEN = "dagster.yaml.sha256"  # of the configuration that this project wrote last
MIGRATIONS: tuple[Callable[[Settings], None], ...] = (lambda _: None,)
"""Migration n converts a home of version n to version n + 1. Version 0 is a home without a version file, or a new one;
version 1 differs from it by that file only."""


class Busy(RuntimeError):
    """Another command holds the lock of this home."""


def version_of(settings: Settings) -> int:
    """Return the version of the home's state. Raises SettingsError for a home of a newer release, and DamagedFile."""
    file = settings.state / VERSION
    try:
        with folders.usable(settings):
            version = int(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        version = 0
    except ValueError as e:
        remedy = f"write the home's version into it, which is {len(MIGRATIONS)} when this release has used the home"
        raise DamagedFile(file, "it holds no number", remedy) from e
    if version > len(MIGRATIONS):
        raise SettingsError(
            f"{settings.state} has version {version} and was written by a newer release of phi-assets, and this one "
            f"knows version {len(MIGRATIONS)}: use that release, or another PHI_HOME"
        )
    return version


def migrate(settings: Settings) -> None:
    """Bring the home's state to this release's version. Raises SettingsError as `version_of`."""
    for number in range(version_of(settings), len(MIGRATIONS)):
        MIGRATIONS[number](settings)
        atomic_write(settings.state / VERSION, f"{number + 1}\n")


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables that every Dagster process of this home needs."""
    return {"DAGSTER_HOME": str(settings.dagster_home), "PHI_HOME": str(settings.home)}


@contextmanager
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Open this home's Dagster instance, with the project's dagster.yaml and pools.

    Raises SettingsError for a home of a newer release, or for one that cannot be a home, and DamagedFile.
    """
    folders.make(settings)
    migrate(settings)
    databases.require_sound(settings.state)
    _write_configuration(settings)
    os.environ.update(environment(settings))
    with open_instance(settings.dagster_home) as opened:
        set_pools(opened)
        yield opened


def set_pools(opened: dg.DagsterInstance) -> None:
    """Create every pool with its number of slots."""
    for pool, limit in POOLS.items():
        set_pool_limit(opened, pool, limit)


@contextmanager
def only_one(settings: Settings, name: str, command: str = "") -> Iterator[TextIO]:
    """Hold the home's lock of this name, and yield its open file. Raises Busy, which names the holder.

    `command`: the command that takes the lock, where its name differs from the lock's.
    """
    folders.make(settings)
    path = settings.state / f"{name}.lock"
    with open(path, "a+", encoding="utf-8", opener=private) as handle:
        try:
            _take(handle, path)
        except BlockingIOError as e:
            handle.seek(0)
            process, _, other = handle.read().strip().partition(" ")
            raise Busy(
                f"another `phi {other or name}` (process {process or 'unknown'}) works on {settings.home}; "
                "wait for it, or choose another PHI_HOME"
            ) from e
        handle.truncate(0)
        handle.write(f"{os.getpid()} {command or name}")
        with errors_name(path):
            handle.flush()
        yield handle


def is_at_work(settings: Settings, name: str) -> bool:
    """Return whether a command holds the home's lock of this name now."""
    return is_locked(settings.state / f"{name}.lock")


def _take(handle: TextIO, path: Path) -> None:
    """Take the lock, with retries for 0.2 seconds: `is_at_work` holds it for a moment to query it."""
    for _ in range(4):
        try:
            return lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        except BlockingIOError:
            time.sleep(0.05)
    lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, path)


def _write_configuration(settings: Settings) -> None:
    """Write Dagster's configuration where there is none, or one that this project wrote: an operator's own stays.

    Raises DamagedFile for one that is not YAML. An empty one counts as none.
    """
    ours = (PROJECT / "dagster.yaml").read_bytes()
    target, written = settings.dagster_home / "dagster.yaml", settings.state / WRITTEN
    digest = hashlib.sha256(ours).hexdigest()
    content = target.read_bytes() if target.is_file() else b""
    found = hashlib.sha256(content).hexdigest()
    if found == digest:
        if not written.is_file():
            atomic_write(written, f"{digest}\n")
    elif not content.strip() or (written.is_file() and written.read_bytes().strip() == found.encode()):
        atomic_write(target, ours)
        atomic_write(written, f"{digest}\n")
    else:
        _require_yaml(target, content)


def _require_yaml(file: Path, content: bytes) -> None:
    try:
        yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as e:
        reason = f"it is not YAML, {' '.join(str(e).split())}"
        raise DamagedFile(
            file, reason, "correct it; or delete it, and the next command writes this project's own"
        ) from e
