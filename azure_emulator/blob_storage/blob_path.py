"""The path of a blob."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BlobPath:
    """A blob, or a folder of blobs, in one container. No leading slash; a folder may end with one."""

    account: str
    container: str
    path: str
