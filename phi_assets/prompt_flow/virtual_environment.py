"""Prompt flow's own Python environment, made from its own lock when it is first needed.

Prompt flow pins old releases of packages that the rest of the project uses too, so the two cannot share one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from phi_assets import child_environment
from phi_assets.files import atomic_write, locked
from phi_assets.project import INSTALLED, PACKAGE, PROJECT
from phi_assets.prompt_flow.child_process import PromptFlowFailed

LOCK = PROJECT / "requirements" / "lock-promptflow.txt"
NAME = ".venv-promptflow"
COMPLETE = "made-from"  # written last: the fingerprint of what the environment was made from
CODE = "code"  # folder on the children's path; an installed package is linked there, apart from what lies beside it
TAIL_LINES = 15
QUIET = ("--quiet", "--disable-pip-version-check", "--no-input")
REMEDY = (
    "Prompt flow's assets need it: see that pip reaches its package index, then try again;"
    " or leave Prompt flow out with PHI_PROMPT_FLOW=off"
)


def ensure(home: Path, log: Callable[[str], None] | None = None, *, lock: Path = LOCK) -> Path:
    """Return the folder of the environment; make it when it is missing, half made, or was made from another lock.

    It is shared by all homes of a checkout; an installed package has one in each home, because it writes nothing into
    itself. Other processes wait while one makes it.

    Args:
        home: the folder of Prompt flow's state.
        log: gets a line before and after the minute that it takes.
        lock: requirements file with a hash for each package.

    Raises:
        PromptFlowFailed: it could not be made; with the last lines of pip and a remedy.
    """
    folder = (home if INSTALLED else PROJECT) / NAME
    wanted = _fingerprint(lock)
    if _is_complete(folder, wanted):
        return folder
    with locked(folder.with_name(f"{NAME}.lock")) as held:
        if not _is_complete(folder, wanted):
            if folder.is_symlink():  # `venv --clear` would empty what it leads to
                raise _not_made(f"{folder} leads to another checkout's, which is not of this one; remove the link")
            say = log or (lambda _: None)
            say(f"installing Prompt flow's own packages into {folder}, once; this takes about a minute")
            with _removed_on_failure(folder):
                # The children hold the lock too: one that outlives this process still writes into the folder.
                _run([sys.executable, "-m", "venv", "--clear", str(folder)], held.fileno())
                _run(
                    [*_pip(folder), "install", *QUIET, "--no-deps", "--require-hashes", "-r", str(lock)], held.fileno()
                )
                (folder / CODE).mkdir()
                if INSTALLED:  # in a checkout the package lies beside the programs
                    (folder / CODE / PACKAGE.name).symlink_to(PACKAGE)
                atomic_write(folder / COMPLETE, wanted)
            say("Prompt flow's packages are installed")
    return folder


def python(folder: Path) -> Path:
    """Return the environment's Python."""
    return folder / "bin" / "python"


def _pip(folder: Path) -> list[str]:
    return [str(python(folder)), "-m", "pip"]


def _fingerprint(lock: Path) -> str:
    """Return what an environment is made from: the lock, this Python, and the place of this package."""
    made_from = f"{sys.version}\n{sys.base_prefix}\n{PACKAGE}\n".encode() + lock.read_bytes()
    return hashlib.sha256(made_from).hexdigest()


def _is_complete(folder: Path, wanted: str) -> bool:
    try:
        return (folder / COMPLETE).read_text(encoding="utf-8") == wanted and python(folder).exists()
    except OSError:
        return False


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run(command: list[str], inherited: int) -> None:
    """Run a command to its end. Raises PromptFlowFailed with the end of its output."""
    try:
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=child_environment.allowed(*child_environment.INSTALLATION),
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=(inherited,),
        ) as process:
            try:
                assert process.stdout
                tail = deque((line.rstrip() for line in process.stdout), maxlen=TAIL_LINES)
            except BaseException:
                process.kill()
                raise
    except OSError as e:
        raise _not_made(str(e)) from e
    if process.returncode:
        raise _not_made("\n".join(tail) or f"{command[0]} ended with code {process.returncode}")


def _not_made(reason: str) -> PromptFlowFailed:
    return PromptFlowFailed(f"Prompt flow's environment could not be made: {reason}\n{REMEDY}")


if __name__ == "__main__":  # before the type checker, which reads its packages
    ensure(PROJECT, print)
