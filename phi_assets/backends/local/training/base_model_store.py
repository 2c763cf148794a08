"""Base models as folders under the home."""

from pathlib import Path
from typing import TYPE_CHECKING

from phi_assets.ports.base import Log
from phi_assets.ports.training import BaseModelStore
from phi_assets.records import BaseModel
from phi_assets.settings import PROJECT

if TYPE_CHECKING:
    from phi_assets.base_models.model_store import ResolvedModel


class LocalBaseModelStore(BaseModelStore):
    """Makes the model that PHI_BASE_MODEL names from a package, the hub or a folder."""

    state: str
    base_model: str

    def resolve(self, log: Log) -> BaseModel:
        from phi_assets.base_models.reference import parse_base_model
        from phi_assets.base_models.resolve import resolve

        found = resolve(parse_base_model(self.base_model, relative_to=PROJECT), self._root, log)
        for note in found.notes:
            log(note)
        return _record(found)

    def find(self, digest: str) -> BaseModel | None:
        from phi_assets.base_models.model_store import find_model

        found = find_model(self._root, digest)
        return _record(found) if found else None

    def folder(self, model: BaseModel) -> Path:
        return Path(model.address)

    @property
    def _root(self) -> Path:
        return Path(self.state) / "base_models"


def _record(found: "ResolvedModel") -> BaseModel:
    return BaseModel(
        digest=found.digest,
        address=str(found.address),
        source=found.source,
        architecture=found.architecture,
        parameters=found.parameters,
        context_length=found.context_length,
        notes=tuple(found.notes),
    )
