"""Launchers of `python` for the PATH of a job or container."""

import shlex
from pathlib import Path


def write_python_launchers(folder: Path, python: Path) -> Path:
    """Write `python` and `python3` to the folder and return it.

    Other programs of the environment are left out, because Azure's image does not have them.
    """
    for name in ("python", "python3"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} "$@"\n')
        program.chmod(0o755)
    return folder
