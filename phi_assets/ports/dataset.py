"""Conversations as they come in, and the immutable dataset versions published from them."""

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets import records
from phi_assets.ports.base import Log, Port

if TYPE_CHECKING:
    from phi_assets.conversations.sources.feeds import Feed


class DatasetStore(Port):
    """The conversations as they come, and the immutable versions published from them."""

    @abstractmethod
    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        """Where conversations come from, in the order of reading.

        `patient`: what may still be on its way, such as a role, is waited for, as a run can and a sensor cannot.
        """

    @abstractmethod
    def source_fingerprint(self) -> str:
        """SHA-256 over the set of the raw conversations' contents. Raises when they cannot be read."""

    @abstractmethod
    def publish(self, log: Log) -> records.DatasetVersion:
        """Read, clean, split and publish; rows published before stay on their side. The same content is one version."""

    @abstractmethod
    def folder(self, version: records.DatasetVersion) -> Path:
        """A local folder with the version's files."""
