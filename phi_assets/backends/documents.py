"""Small documents that several machines or processes change: each write names the version that it replaces."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from phi_assets.errors import BackendError
from phi_assets.files import atomic_write, locked

LOCK = ".lock"


class Documents(Protocol):
    """Documents by name, such as `fine_tuned_model.json`. A version is an opaque text that changes with the content."""

    def versions(self) -> dict[str, str]:
        """Return the version of every document; nothing where the place does not exist yet."""
        ...

    def all(self) -> dict[str, bytes]:
        """Return every document; nothing where the place does not exist yet."""
        ...

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a document and its version; None when it does not exist."""
        ...

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        """Write a document that still has this version (None: does not exist). Return whether it had."""
        ...


Change = Callable[[bytes | None], bytes | None]


def change(documents: Documents, name: str, changed: Change) -> None:
    """Replace a document by what `changed` makes of it; None leaves it. Called again when another one was faster."""
    while True:
        found = documents.read(name)
        content = changed(found[0] if found else None)
        if content is None or (found and content == found[0]):
            return
        if documents.replace(name, content, found[1] if found else None):
            return


class UnsentDocuments:
    """Documents elsewhere, and in a folder of this machine those that could not be written there yet.

    `merge` makes one document of a stored one and of an unsent one. What a place refuses raises BackendError.
    """

    def __init__(self, shared: Documents, unsent: "FolderDocuments", merge: Callable[[bytes, bytes], bytes]) -> None:
        self._shared, self._unsent, self._merge = shared, unsent, merge

    def all(self) -> dict[str, bytes]:
        """Return every document. Raises BackendError."""
        stored, unsent = self._shared.all(), self._unsent.all()
        both = {name: self._merge(stored[name], unsent[name]) for name in stored.keys() & unsent.keys()}
        return {**stored, **unsent, **both}

    def read(self, name: str) -> tuple[bytes, str] | None:
        """Return a document, as it was not sent yet or as it is stored. Raises BackendError."""
        return self._unsent.read(name) or self._shared.read(name)

    def change(self, name: str, changed: Change) -> None:
        """As the function `change`, of documents elsewhere; where these cannot be written it is sent later."""
        if self._unsent.read(name) is None:
            try:
                change(self._shared, name, changed)
            except BackendError:
                self._unsent.change(name, changed)
                return
        else:
            self._unsent.change(name, changed)
        self.send()

    def send(self) -> None:
        """Write what was not sent yet. What cannot be written stays."""
        for name, content in self._unsent.all().items():
            try:
                change(self._shared, name, lambda stored, new=content: self._merge(stored, new) if stored else new)
            except BackendError:
                return
            self._unsent.remove(name, content)


class FolderDocuments:
    """Documents in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def versions(self) -> dict[str, str]:
        return {name: _version(content) for name, content in self.all().items()}

    def all(self) -> dict[str, bytes]:
        return {_name(self.folder, file): file.read_bytes() for file in sorted(self.folder.rglob("*.json"))}

    def read(self, name: str) -> tuple[bytes, str] | None:
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        return content, _version(content)

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / LOCK):
            found = self.read(name)
            if (found[1] if found else None) != version:
                return False
            atomic_write(self.folder / name, content)
            return True

    def change(self, name: str, changed: Change) -> None:
        """As the function `change`."""
        change(self, name, changed)

    def send(self) -> None:
        """Do nothing: what is written is stored."""

    def remove(self, name: str, content: bytes) -> None:
        """Remove a document that still has this content."""
        with locked(self.folder / LOCK):
            found = self.read(name)
            if found and found[0] == content:
                (self.folder / name).unlink()


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
