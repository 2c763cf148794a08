"""Stores base models in blob storage, each registered as an Azure ML data asset, with a local copy."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage import blob, data_assets
from phi_assets.backends.azure.storage.shared_folders import SharedFolders
from phi_assets.ports.base import Decides, Log
from phi_assets.ports.training import BaseModelStore
from phi_assets.project import WORKING_FOLDER
from phi_assets.records import BaseModel

ASSET = "phi-base-model"
ROOT = "phi/base_models/"


class AzureBaseModelStore(BaseModelStore):
    """Resolves the model that PHI_BASE_MODEL names locally, and uploads it once to the workspace."""

    decides: ClassVar = {
        "base_model": Decides(modules=("azure.storage.data_assets",), settings=SUBSCRIPTION),
    }
    account: dict[str, str]
    state: str
    base_model: str
    role_minutes: float = 30.0

    def resolve(self, log: Log) -> BaseModel:
        from phi_assets.base_models.resolve import resolve_named

        here = resolve_named(self.base_model, WORKING_FOLDER, self._root, log)
        path = folder_of(here.digest)
        sent = self._blobs(log).upload(Path(here.address), path)
        log(f"{blob.address(path)}: {sent} files uploaded")
        data_assets.ensure(
            self._clients,
            ASSET,
            here.digest,
            path,
            description="The pretrained model that fine-tuning starts from",
            tags={"source": here.source, "architecture": here.architecture},
            log=log,
            role_minutes=self.role_minutes,
        )
        model = _on_azure(here)
        self._shared(log).put(model, Path(here.address))
        return model

    def find(self, digest: str) -> BaseModel | None:
        from phi_assets.base_models.model_store import find_model

        if data_assets.find(self._clients, ASSET, digest, log_to_run) is None:
            return None
        found = find_model(self._root, digest)
        if found is None:
            shared = self._shared(log_to_run).find(digest)
            return shared if isinstance(shared, BaseModel) else None
        whole = blob.seems_whole(self._clients, found.address, folder_of(digest))
        return _on_azure(found.record()) if whole else None

    def folder(self, model: BaseModel) -> Path:
        folder = self._root / model.digest
        if not (folder / "config.json").is_file():
            self._shared(log_to_run).download(model.digest, folder)
        return folder

    @property
    def _root(self) -> Path:
        return Path(self.state) / "base_models"

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)

    def _shared(self, log: Log) -> SharedFolders:
        return SharedFolders(self._clients, ROOT, self.role_minutes, log)

    def _blobs(self, log: Log) -> blob.WorkspaceBlobs:
        return blob.WorkspaceBlobs(self._clients, log, self.role_minutes)


def folder_of(digest: str) -> str:
    """The folder of a model in the workspace's container."""
    return f"{ROOT}{digest}/"


def _on_azure(model: BaseModel) -> BaseModel:
    return dataclasses.replace(model, address=blob.address(folder_of(model.digest)))
