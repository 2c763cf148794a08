"""Where the project's own files lie: in a checkout, or in the installed package; and where relative paths start."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
BUNDLED = PACKAGE / "project"
"""The wheel's copy of what lies beside `phi_assets` in a checkout: programs, flows, infra, data, locks."""
INSTALLED = BUNDLED.is_dir()
PROJECT = BUNDLED if INSTALLED else PACKAGE.parent
WORKING_FOLDER = Path.cwd() if INSTALLED else PROJECT
"""Where relative paths of settings start, and where `.env` lies: an installed package writes nothing into itself."""


def source(path: str) -> Path:
    """Return the file or folder at this path of a checkout, wherever it lies here."""
    return (PACKAGE.parent if path.split("/")[0] == PACKAGE.name else PROJECT) / path


def make_importable() -> None:
    """Let the bundled programs be imported by their names (`serving_code`, ...), as in a checkout."""
    if INSTALLED and str(BUNDLED) not in sys.path:
        sys.path.insert(0, str(BUNDLED))
