"""Raw conversations, and the immutable dataset versions published from them."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets import records
from phi_assets.ports.base import Log, Port

if TYPE_CHECKING:
    from phi_assets.conversations.sources.feeds import Feed


class DatasetStore(Port):
    """Reads raw conversations and publishes immutable dataset versions."""

    @abstractmethod
    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        """Return the sources of conversations, in reading order.

        `patient` waits for what may take minutes, such as a new role assignment. Runs can wait; sensors cannot.
        """

    @abstractmethod
    def source_fingerprint(self) -> str:
        """Return a SHA-256 over the contents of all raw files, in any order. Raises if one cannot be read."""

    @abstractmethod
    def publish(self, log: Log) -> records.DatasetVersion:
        """Read, clean, split and publish the conversations.

        A row keeps the split that it was first published in. The same content gives the same version.
        """

    @abstractmethod
    def folder(self, version: records.DatasetVersion) -> Path:
        """Return a local folder with the version's files."""
