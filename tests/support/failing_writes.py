"""A disk that is full for chosen writes of chosen processes: `failing_writes.c`, compiled and preloaded."""

import ctypes
import errno
import mmap
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_suffix(".c")
EVER = 1 << 40
VARIES = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{16,}|(?<=\.)[a-z0-9_]{8}$")
"""Parts of a path that are other ones at each run: ids, digests, and the end of a draft's name."""


class _Control(ctypes.Structure):
    _fields_ = (
        ("count", ctypes.c_long),
        ("fails_at", ctypes.c_long),
        ("until", ctypes.c_long),
        ("error", ctypes.c_long),
        ("below", ctypes.c_char * 1024),
        ("hit", ctypes.c_char * 1024),
    )


class FailingWrites:
    """Counts what is written below a folder by processes that have `variables`, and lets it fail from the n-th on."""

    def __init__(self, folder: Path, below: Path) -> None:
        compiler = shutil.which("cc")
        if not compiler:
            pytest.skip("no C compiler, with which writes are made to fail")
        self._trace = folder / "control.trace"
        control, library = folder / "control", folder / "failing_writes.so"
        control.write_bytes(bytes(ctypes.sizeof(_Control)))
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", f'-DCONTROL="{control}"', "-o", library, SOURCE, "-ldl"], check=True
        )
        with control.open("r+b") as stream:
            self._control = _Control.from_buffer(mmap.mmap(stream.fileno(), 0))
        self._control.below = str(below).encode()
        self.variables = {"LD_PRELOAD": str(library)}

    def begin(self, fails_at: int = 0, until: int | None = None, error: int = errno.ENOSPC) -> None:
        """Count from 0, and let the writes from `fails_at` to `until` fail; only the one where `until` is not given."""
        self._control.fails_at = EVER  # first: other processes count on
        if not fails_at:
            self._trace.write_bytes(b"")
        self._control.hit, self._control.error = b"", error
        self._control.until = fails_at if until is None else until
        self._control.count = 0
        self._control.fails_at = fails_at

    @property
    def count(self) -> int:
        return self._control.count

    def kinds(self) -> dict[str, list[int]]:
        """Return the numbers of the writes since `begin()`, by call and path, in which digits and ids are left out."""
        found: dict[str, list[int]] = {}
        for line in self._trace.read_text(encoding="utf-8").splitlines():
            number, _, kind = line.partition(" ")
            found.setdefault(VARIES.sub("*", kind), []).append(int(number))
        return found

    @property
    def hit(self) -> str:
        """The first call that failed, and its path; empty where none did."""
        return self._control.hit.decode()
