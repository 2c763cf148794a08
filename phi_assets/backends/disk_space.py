"""Whether the disk has room for what is about to be written."""

import shutil
from pathlib import Path

from phi_assets.errors import BackendError

SLACK = 50_000_000  # bytes: reports, logs and Dagster's events beside what is estimated


class DiskFull(BackendError):
    """Too little disk is free for what was about to start; nothing was started."""


def require_space(folder: Path, needed: int, what: str) -> int:
    """Return the free bytes of the folder's disk; the folder may not exist yet. Raises DiskFull if they are too few."""
    free = free_bytes(folder)
    if free >= needed + SLACK:
        return free
    remedy = "free some with `phi clean`, or move the home to a larger disk with PHI_HOME"
    raise DiskFull(
        f"{what} needs about {in_gb(needed + SLACK)} in {folder} and {in_gb(free)} are free there; {remedy}",
        remedy=remedy,
        allow_retries=False,
    )


def free_bytes(folder: Path) -> int:
    """Return the free bytes of the folder's disk, or of its nearest parent that exists."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(existing).free


def in_gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
