"""Records on disk instead of in memory: appended once, read by number, gone with the process."""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

from phi_assets.files import errors_name

T = TypeVar("T")

_BUFFERED = 1 << 20


class Spool:
    """A list of byte strings in a file without a name in `folder` (the system's folder of temporary files by default).

    In memory are 8 bytes a record and up to a megabyte that is still to be written. The disk's space is free again
    when the object is deleted, or the process ends in whatever way. An OSError, as of a full disk, names the folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        self._handle, name = tempfile.mkstemp(prefix=".spool-", dir=self._folder)
        os.unlink(name)
        weakref.finalize(self, os.close, self._handle)
        self._starts = array("Q", [0])
        self._written = 0
        self._buffer = bytearray()

    def append(self, record: bytes) -> None:
        """Add a record at the end."""
        self._buffer += record
        self._starts.append(self._starts[-1] + len(record))
        if len(self._buffer) >= _BUFFERED:
            self._flush()

    def extend(self, records: Iterable[bytes]) -> None:
        """Add records at the end."""
        for record in records:
            self.append(record)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> bytes:
        start, end = self._starts[number], self._starts[number + 1]
        if end > self._written:
            self._flush()
        return self._read(start, end)

    def __iter__(self) -> Iterator[bytes]:
        """All records in their order, read a megabyte at a time."""
        self._flush()
        first = 0
        while first < len(self):
            last = first + 1
            while last < len(self) and self._starts[last + 1] - self._starts[first] <= _BUFFERED:
                last += 1
            block = self._read(self._starts[first], self._starts[last])
            for number in range(first, last):
                yield block[self._starts[number] - self._starts[first] : self._starts[number + 1] - self._starts[first]]
            first = last

    def _read(self, start: int, end: int) -> bytes:
        read = os.pread(self._handle, end - start, start)
        while len(read) < end - start:
            part = os.pread(self._handle, end - start - len(read), start + len(read))
            if not part:
                raise OSError("a temporary file was cut off while it was in use")
            read += part
        return read

    def _flush(self) -> None:
        block = memoryview(bytes(self._buffer))
        self._buffer.clear()
        with errors_name(self._folder):
            while block:
                done = os.write(self._handle, block)
                self._written += done
                block = block[done:]


class Decoded(Sequence[T], Generic[T]):
    """The records of a spool, each decoded when it is asked for."""

    def __init__(self, spool: Spool, decode: Callable[[bytes], T]) -> None:
        self._spool, self._decode = spool, decode

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> list[T]: ...
    def __getitem__(self, place: int | slice) -> T | list[T]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        return self._decode(self._spool[range(len(self))[place]])
