"""The workspace's model registry. Azure ML has no aliases, so that the champion is read from the versions' tags."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from phi_assets.backends.azure.client.account import SUBSCRIPTION
from phi_assets.backends.azure.client.azure_errors import status_of
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role, call_with_retries
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.azure.training.tracking import Trainings
from phi_assets.model_card import record
from phi_assets.models import champions
from phi_assets.models.champions import Version
from phi_assets.models.experiments import Scores, Trained
from phi_assets.ports.base import Decides
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.records import Evaluation, ModelCard, ModelVersion, RegisteredModel

MODEL_NAME = "phi-chat"
WEIGHTS = "model.safetensors"


class AzureModelRegistry(ModelRegistry):
    """Model versions in the workspace. Weights stay in training's output folder, which a version refers to."""

    decides: ClassVar = {
        "registered_model": Decides(settings=SUBSCRIPTION),
        "model_card": Decides(settings=SUBSCRIPTION),
    }
    account: dict[str, str]
    role_minutes: float = 30.0

    def find(self, digest: str) -> RegisteredModel | ModelCard | None:
        return record.find_in(self, digest)

    def champion(self) -> RegisteredModel | None:
        return self._champion_of(self.versions())

    def version(self, number: str) -> RegisteredModel | None:
        return next((each.model for each in self.versions() if each.number == number), None)

    def versions(self) -> list[Version]:
        return _ours(call_with_retries(self._listed, f"listing versions of {MODEL_NAME}", log_to_run))

    def promote(self, number: str, reason: str, run: str) -> RegisteredModel:
        return champions.promote(self, number, reason, run)

    def rollback(self, reason: str, run: str) -> RegisteredModel:
        return champions.rollback(self, reason, run)

    def who(self) -> str:
        principal = self._clients.principal()
        return f"{'user' if principal.kind == 'User' else 'service principal'} {principal.object_id}"

    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Add these tags to the version, and remove those with an empty value."""

        def put() -> None:
            asset = self._now(number)
            asset.tags = {name: value for name, value in {**(asset.tags or {}), **tags}.items() if value}
            self._clients.ml().models.create_or_update(asset)

        call_waiting_for_role(put, f"tagging {MODEL_NAME}:{number}", log_to_run, self.role_minutes)

    def has_weights(self, model: RegisteredModel) -> bool:
        """Whether the weights that the version refers to exist."""
        return self._blobs.size(f"{blob.path_of(model.address)}/{WEIGHTS}") is not None

    def publish_card(self, model: RegisteredModel, text: str, pictures: Mapping[str, Path]) -> str:
        place = blob.path_of(model.address)
        for name, picture in pictures.items():
            self._blobs.write(f"{place}/{name}", picture.read_bytes())
        self._blobs.write(f"{place}/{record.README}", text.encode())
        return f"{model.address}/{record.README}"

    def card(self, model: RegisteredModel) -> str | None:
        return self._blobs.read(f"{blob.path_of(model.address)}/{record.README}").decode() or None

    def log_training(self, model: ModelVersion, folder: Path, tags: Mapping[str, str]) -> str:
        """Record the training, and return the job's address in Azure ML Studio, with its tags, log and results."""
        return self._trainings.log_training(model, folder, tags)

    def log_evaluation(
        self, model: ModelVersion, evaluation: Evaluation, scores: Scores, candidate: str = ""
    ) -> str | None:
        return self._trainings.log_evaluation(model, evaluation, scores, candidate)

    def trainings(self) -> list[Trained]:
        return self._trainings.all()

    def register(self, model: ModelVersion, evaluation: Evaluation, tags: Mapping[str, str]) -> RegisteredModel:
        taken = call_waiting_for_role(
            lambda: self._listed(archived=True), f"listing versions of {MODEL_NAME}", log_to_run, self.role_minutes
        )
        versions = self.versions()
        present = self._champion_of(versions)
        if present and present.model_digest == model.digest:
            return present
        if champions.withdrawn(versions, model.digest):
            return champions.in_its_place(versions, model.digest, present)
        name = champions.name_of(present)
        if name != evaluation.champion:
            raise champions.champion_changed(evaluation, name)
        # Only one run gets the next number: a concurrent one finds another model under it.
        number = str(max((int(version.version) for version in taken), default=0) + 1)
        how = tags.get(champions.PROMOTED, champions.PASSED)
        champion_tags = {**tags, **champions.set_only(champions.promotion_tags(_ours(taken), how, self.who()))}
        found = call_waiting_for_role(
            lambda: self._put(number, model, champion_tags),
            f"registering {MODEL_NAME}:{number}",
            log_to_run,
            self.role_minutes,
        )
        if (found.tags or {}).get("model_digest") != model.digest:
            raise champions.champion_changed(evaluation, f"{MODEL_NAME}/{number}")
        return _record(found)

    def _put(self, number: str, model: ModelVersion, tags: Mapping[str, str]) -> Any:
        """Register the version of that number unless it exists, and return it: it may be another run's."""
        from azure.ai.ml.entities import Model
        from azure.ai.ml.exceptions import AssetPathException
        from azure.core.exceptions import HttpResponseError

        taken = self._now(number)
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
            taken = self._now(number) if status_of(e) in (None, 400, 409) else None
            if taken is None:
                raise
        return self._now(number)

    def _now(self, number: str) -> Any:
        """The version of that number; None when it does not exist. One request, without retries."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self._clients.ml().models.get(MODEL_NAME, number)
        except ResourceNotFoundError:
            return None

    def _listed(self, *, archived: bool = False) -> list[Any]:
        """Every version of the model, the newest first; with `archived` also the archived ones."""
        from azure.ai.ml.constants import ListViewType
        from azure.core.exceptions import ResourceNotFoundError

        view = ListViewType.ALL if archived else ListViewType.ACTIVE_ONLY
        try:
            found = list(self._clients.ml().models.list(MODEL_NAME, list_view_type=view))
        except (ResourceNotFoundError, NotDeployed):
            return []
        return sorted(found, key=lambda version: int(version.version), reverse=True)

    def _champion_of(self, versions: Iterable[Version]) -> RegisteredModel | None:
        stack = champions.champions(versions)
        # A champion whose weights were deleted can be neither compared with nor served.
        return stack[-1].model if stack and self.has_weights(stack[-1].model) else None

    @property
    def _trainings(self) -> Trainings:
        return Trainings(self._clients, self._clients.account.folder, self.role_minutes)

    @property
    def _blobs(self) -> blob.WorkspaceBlobs:
        return blob.WorkspaceBlobs(self._clients, log_to_run, self.role_minutes)

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


def _ours(found: Iterable[Any]) -> list[Version]:
    """The versions that this project registered."""
    ours = (each for each in found if "model_digest" in (each.tags or {}))
    return champions.ordered(champions.version_of(_record(each), each.tags, _created(each)) for each in ours)


def _created(version: Any) -> str:
    when = version.creation_context.created_at if version.creation_context else None
    return when.isoformat(timespec="seconds") if isinstance(when, datetime) else str(when or "")
