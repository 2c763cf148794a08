"""Lock files: requirements files with one release, and its hashes, for each package."""

import re
from collections.abc import Mapping
from pathlib import Path

from packaging.markers import Marker

PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)(?:\s*;\s*([^\\\n]+?))?\s*\\?$", re.MULTILINE)


def pins(lock: Path, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the release of each package that the lock pins here.

    Args:
        lock: the file; a package may stand in it more than once, each time for other releases of Python.
        environment: values of environment markers that differ from those of this Python, such as `python_version`.
    """
    rows = PINNED.findall(lock.read_text(encoding="utf-8"))
    given = dict(environment or {})
    return {name: release for name, release, marker in rows if not marker or Marker(marker).evaluate(given)}
