"""The workspace's model registry. Azure ML has no aliases: the champion is the newest version that is not retired."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi_assets.backends.azure import blob
from phi_assets.backends.azure.clients import AzureClients, clients
from phi_assets.backends.azure.errors import status_of
from phi_assets.backends.azure.outputs import NotDeployed
from phi_assets.backends.azure.retrying import say, with_patience
from phi_assets.backends.azure.roles import wait_for_role
from phi_assets.backends.azure.trainer import JOB
from phi_assets.backends.ports import ChampionChanged, ModelRegistry
from phi_assets.records import Evaluation, ModelVersion, RegisteredModel

MODEL_NAME = "phi-chat"
RETIRED = "retired"  # a tag by which a person takes a version out of the succession, in Studio or by `az ml`
WEIGHTS = "model.safetensors"


class AzureModelRegistry(ModelRegistry):
    """Model versions in the workspace. Weights stay where training put them; a version names their folder."""

    account: dict[str, str]
    role_minutes: float = 30.0

    def find(self, digest: str) -> RegisteredModel | None:
        found = next((v for v in self._versions() if (v.tags or {}).get("model_digest") == digest), None)
        return _record(found) if found and self._has_weights(found) else None

    def champion(self) -> RegisteredModel | None:
        newest = next((v for v in self._versions() if not _retired(v)), None)
        # A champion whose weights are gone can be neither compared with nor served.
        return _record(newest) if newest and self._has_weights(newest) else None

    def log_training(self, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        """The address of the job in Azure ML Studio: the job itself bears the tags, its log and its results."""
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        return job["studio"] or job["name"]

    def register(self, model: ModelVersion, evaluation: Evaluation, tags: Mapping[str, str]) -> RegisteredModel:
        present = self.champion()
        if present and present.model_digest == model.digest:
            return present
        name = f"{present.name}/{present.version}" if present else None
        if name != evaluation.champion:
            raise _changed(name, evaluation.champion)
        # The next number is taken by one version only: who comes second finds another model under it.
        number = str(max((int(version.version) for version in self._versions(archived=True)), default=0) + 1)
        found = wait_for_role(
            lambda: self._put(number, model, tags), f"registering {MODEL_NAME}:{number}", say, self.role_minutes
        )
        if (found.tags or {}).get("model_digest") != model.digest:
            raise _changed(f"{MODEL_NAME}/{number}", evaluation.champion)
        return _record(found)

    def _put(self, number: str, model: ModelVersion, tags: Mapping[str, str]) -> Any:
        """The version of that number, which is ours when nobody else has taken it."""
        from azure.ai.ml.entities import Model
        from azure.ai.ml.exceptions import AssetPathException
        from azure.core.exceptions import HttpResponseError

        taken = self._version(number)
        if taken is not None:
            return taken
        asset = Model(
            name=MODEL_NAME,
            version=number,
            type="custom_model",
            path=model.address,
            description="A fine-tuned chat model that passed the gate",
            tags={
                **tags,
                "model_digest": model.digest,
                "dataset_digest": model.dataset_digest,
                "training_run": model.training_run,
            },
        )
        try:
            self._clients.ml().models.create_or_update(asset)
        except (AssetPathException, HttpResponseError) as e:
            taken = self._version(number) if status_of(e) in (None, 400, 409) else None
            if taken is None:
                raise
        return self._version(number)

    def _version(self, number: str) -> Any:
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return with_patience(
                f"reading {MODEL_NAME}:{number}", lambda: self._clients.ml().models.get(MODEL_NAME, number)
            )
        except ResourceNotFoundError:
            return None

    def _versions(self, *, archived: bool = False) -> list[Any]:
        """Every version of the model, the newest first; with `archived` those too that were put away."""
        from azure.ai.ml.constants import ListViewType
        from azure.core.exceptions import ResourceNotFoundError

        view = ListViewType.ALL if archived else ListViewType.ACTIVE_ONLY
        try:
            found = with_patience(
                f"listing versions of {MODEL_NAME}",
                lambda: list(self._clients.ml().models.list(MODEL_NAME, list_view_type=view)),
            )
        except (ResourceNotFoundError, NotDeployed):
            return []
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def _has_weights(self, version: Any) -> bool:
        blobs = blob.WorkspaceBlobs(self._clients, say, self.role_minutes)
        return blobs.size(f"{blob.path_of(_record(version).address)}/{WEIGHTS}") is not None

    @property
    def _clients(self) -> AzureClients:
        return clients(self.account)


def _record(version: Any) -> RegisteredModel:
    tags = version.tags
    return RegisteredModel(
        digest=tags["model_digest"],
        name=version.name,
        version=str(version.version),
        address=blob.address(version.path.rpartition(f"/datastores/{blob.DATASTORE}/paths/")[2].rstrip("/")),
        model_digest=tags["model_digest"],
        dataset_digest=tags["dataset_digest"],
        training_run=tags["training_run"],
    )


def _retired(version: Any) -> bool:
    return (version.tags or {}).get(RETIRED, "").lower() == "true" or "model_digest" not in (version.tags or {})


def _changed(present: str | None, compared: str | None) -> ChampionChanged:
    return ChampionChanged(
        f"the champion is {present or 'none'}, the evaluation compared with {compared or 'none'}; "
        "materialise model_evaluation again"
    )
