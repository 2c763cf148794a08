"""What a job, or a container, finds on its PATH of the environment that its image is."""

import shlex
from pathlib import Path


def write_python_launchers(folder: Path, python: Path) -> Path:
    """The folder, with `python` and nothing else of the environment: its other programs are not on Azure's image."""
    for name in ("python", "python3"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} "$@"\n')
        program.chmod(0o755)
    return folder
