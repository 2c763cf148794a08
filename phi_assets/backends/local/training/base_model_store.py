"""Base models as folders under the home."""

from pathlib import Path
from typing import ClassVar

from phi_assets.ports.base import Decides, Log
from phi_assets.ports.training import BaseModelStore
from phi_assets.project import WORKING_FOLDER
from phi_assets.records import BaseModel


class LocalBaseModelStore(BaseModelStore):
    """Prepares the model of PHI_BASE_MODEL from a package, the hub or a folder."""

    decides: ClassVar = {
        "base_model": Decides(),
    }
    state: str
    base_model: str

    def resolve(self, log: Log) -> BaseModel:
        from phi_assets.base_models.resolve import resolve_named

        return resolve_named(self.base_model, WORKING_FOLDER, self._root, log)

    def find(self, digest: str) -> BaseModel | None:
        from phi_assets.base_models.model_store import find_model

        found = find_model(self._root, digest)
        return found.record() if found else None

    def folder(self, model: BaseModel) -> Path:
        return Path(model.address)

    @property
    def _root(self) -> Path:
        return Path(self.state) / "base_models"
