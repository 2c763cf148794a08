"""The folders of the home: created for their user only; those of earlier releases are made private once."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phi_assets import faults
from phi_assets.files import make_private, private_folder
from phi_assets.settings import Settings, SettingsError

OURS = frozenset({"local", "azure", "inbox"})
"""What a home holds. One that holds other things too stays as open as it is, apart from these folders."""
NO_HOME = frozenset(
    {errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EACCES, errno.EPERM}
)


def make(settings: Settings) -> None:
    """Create the folders of the home, readable by this user only; make those of earlier releases private, with a line.

    Raises SettingsError when PHI_HOME cannot be a home: it is a file, read-only, another user's, or its path too long.
    """
    with usable(settings):
        for folder in (settings.home, settings.state, settings.dagster_home, settings.inbox):
            private_folder(folder)
    for folder in (settings.home, settings.state):
        _narrow(folder)


@contextmanager
def usable(settings: Settings) -> Iterator[None]:
    """Raise SettingsError where the block fails because PHI_HOME cannot be a home."""
    try:
        yield
    except OSError as e:
        if e.errno not in NO_HOME:
            raise
        said = faults.sentence(e, settings.home)
        raise SettingsError(f"PHI_HOME={settings.home} cannot be the home: {said}") from e


def _narrow(folder: Path) -> None:
    """Make a folder of this user private, with all that it holds, where other users may enter it."""
    found = folder.stat()
    foreign = {each.name for each in folder.iterdir()} - OURS if folder.name not in OURS else set()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid() and not foreign:
        make_private(folder)
        print(f"phi: {folder} was open to other users of this machine; now it is yours alone", file=sys.stderr)
