"""Dataset versions as folders under the home."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from phi_assets.backends.dataset_preparation import DatasetPreparation
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.dataset import DatasetStore
from phi_assets.records import DatasetVersion

if TYPE_CHECKING:
    from phi_assets.conversations.sources.feeds import Feed


class LocalDatasetStore(DatasetStore):
    """Reads the dataset of PHI_DATASET and the inbox, and publishes JSON Lines on this machine."""

    decides: ClassVar = {
        "raw_conversations": Decides(),
        "chat_dataset": Decides(modules=("dataset_preparation", "dataset_versions", "row_places")),
    }
    state: str
    source: str
    cleaning: dict[str, Any]
    inbox: str = ""

    def feeds(self, *, patient: bool = True) -> "list[Feed]":
        del patient  # local files need no wait
        return self._preparation.feeds()

    def source_fingerprint(self) -> str:
        return self._preparation.fingerprint(self.feeds())

    def publish(self, log: Log) -> DatasetVersion:
        return self._preparation.publish(self.feeds(), log)

    def find(self, digest: str) -> DatasetVersion | None:
        return self._preparation.find(digest)

    def folder(self, version: DatasetVersion) -> Path:
        return Path(version.address)

    @cached_property
    def _preparation(self) -> DatasetPreparation:
        return DatasetPreparation(Path(self.state), self.source, self.cleaning, self.inbox)
