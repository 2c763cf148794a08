"""Where the project's own files lie: in a checkout, or in the installed package; and where relative paths start."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parent
BUNDLED = PACKAGE / "bundled"
"""The wheel's copy of what lies beside `phi_assets` in a checkout: programs, flows, infra, data, locks."""
PROGRAMS = frozenset(
    {
        "chat_code",
        "dataset_code",
        "evaluation_code",
        "export_code",
        "quantization_code",
        "serving_code",
        "training_code",
    }
)
INSTALLED = BUNDLED.is_dir()
PROJECT = BUNDLED if INSTALLED else PACKAGE.parent
LOCATION = "phi_assets"
"""The name of the code location, also in workspace.yaml and pyproject.toml."""
WORKING_FOLDER = Path.cwd() if INSTALLED else PROJECT
"""Where relative paths of settings start, and where `.env` lies: an installed package writes nothing into itself."""


def source(path: str) -> Path:
    """Return the file or folder at this path of a checkout, wherever it lies here."""
    return (PACKAGE.parent if path.split("/")[0] == PACKAGE.name else PROJECT) / path


class BundledPrograms(MetaPathFinder):
    """Finds the bundled programs by the names that they have in a checkout, such as `serving_code`.

    An entry of `sys.path` would not do: Dagster restores `sys.path` after it has imported a code location.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return PathFinder.find_spec(fullname, [str(BUNDLED)]) if fullname in PROGRAMS else None


def make_importable() -> None:
    """Let the bundled programs be imported by their names, as in a checkout."""
    if INSTALLED and not any(isinstance(finder, BundledPrograms) for finder in sys.meta_path):
        sys.meta_path.insert(0, BundledPrograms())
