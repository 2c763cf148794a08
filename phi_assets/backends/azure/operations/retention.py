"""What the workspace's blob container and this home store for the graph on Azure."""

import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.backends.home_storage import EXPLAINS, WEIGHTS, HomeStorage
from phi_assets.models.retention_policy import Kind, Stored
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Retention
from phi_assets.records import ModelVersion, RecordUnreadable

JOBS = ("phi/training/", "phi/evaluations/", "phi/hub/", "phi/pipes/")  # folders of jobs, one for each recipe or job
DATASETS = "phi/datasets/"
TRACKED = "trainings"


class AzureRetention(Retention):
    """Removes blobs of the workspace's container, and folders of this home.

    Data assets and model versions of the workspace stay: they are small, and say what existed.
    """

    account: dict[str, str]
    state: str
    role_minutes: float = 30.0

    def stored(self, log: Log) -> list[Stored]:
        home = self._home.stored()
        try:
            blobs = self._blobs(log).listed("phi/")
        except (NoDatastore, NotDeployed):  # nothing is in the cloud before the first deployment, or after a teardown
            blobs = {}
        models = {_folder_of(model): model for model in self._models()}
        claimed = {prefix for prefix in models if any(name.startswith(f"{prefix}model/{WEIGHTS}") for name in blobs)}
        cloud = [
            *(self._weights(prefix, models[prefix], blobs) for prefix in sorted(claimed)),
            *(_folder(prefix, "job folder", blobs) for prefix in _prefixes(blobs, JOBS) if prefix not in models),
        ]
        in_cloud = {prefix.removeprefix(DATASETS).rstrip("/"): prefix for prefix in _prefixes(blobs, (DATASETS,))}
        both = [_with_blobs(each, in_cloud.pop(each.digest, ""), blobs) for each in home]
        others = [_folder(prefix, "dataset", blobs, digest) for digest, prefix in in_cloud.items()]
        return [*both, *cloud, *others, *self._tracked()]

    def remove(self, stored: Stored) -> None:
        for place in stored.places:
            if place.startswith(blob.ADDRESS):
                self._blobs(log_to_run).remove(blob.path_of(place))
            else:
                self._home.discard(Path(place))
        self._home.sweep()

    def sweep(self) -> None:
        self._home.sweep()

    def _weights(self, prefix: str, model: ModelVersion, blobs: dict[str, tuple[int, float]]) -> Stored:
        """The weights of a model: its blobs but for the report and the card, the weights themselves first."""
        names = [
            name
            for name in blobs
            if name.startswith((f"{prefix}model/", f"{prefix}adapter/", f"{prefix}checkpoints/"))
            and name.rpartition("/")[2] not in EXPLAINS
        ]
        names.sort(key=lambda name: (not name.endswith(WEIGHTS), name))
        return Stored(
            kind="weights",
            name=model.digest[:12],
            digest=model.digest,
            places=tuple(map(blob.address, names)),
            bytes=sum(blobs[name][0] for name in names),
            at=max(blobs[name][1] for name in names),
            refers_to=(model.dataset_digest, model.base_digest),
        )

    def _models(self) -> Iterator[ModelVersion]:
        for path in sorted((Path(self.state) / "models").glob("*/record.json")):
            try:
                record = ModelVersion.load(path)
            except RecordUnreadable:
                continue
            if record:
                yield record

    def _tracked(self) -> Iterator[Stored]:
        for path in sorted((Path(self.state) / TRACKED).glob("*.json")):
            model = str(json.loads(path.read_text(encoding="utf-8")).get("model", ""))
            facts = path.stat()
            yield Stored(
                "tracked training", path.stem, path.stem, (str(path),), facts.st_size, facts.st_mtime, (model,)
            )

    def _blobs(self, log: Log) -> WorkspaceBlobs:
        return WorkspaceBlobs(clients(self.account), log, self.role_minutes)

    @cached_property
    def _home(self) -> HomeStorage:
        return HomeStorage(Path(self.state))


def _folder_of(model: ModelVersion) -> str:
    return blob.path_of(model.address).removesuffix("model")


def _prefixes(blobs: dict[str, tuple[int, float]], roots: tuple[str, ...]) -> list[str]:
    """Return each folder directly under the roots, with a slash at its end."""
    found = set()
    for name in blobs:
        root = next((root for root in roots if name.startswith(root)), None)
        inside = name.removeprefix(root) if root else ""
        if root and "/" in inside:
            found.add(f"{root}{inside.partition('/')[0]}/")
    return sorted(found)


def _folder(prefix: str, kind: Kind, blobs: dict[str, tuple[int, float]], digest: str = "") -> Stored:
    inside = [facts for name, facts in blobs.items() if name.startswith(prefix)]
    size, at = sum(each for each, _ in inside), max(when for _, when in inside)
    return Stored(kind, digest[:12] or prefix, digest, (blob.address(prefix),), size, at)


def _with_blobs(stored: Stored, prefix: str, blobs: dict[str, tuple[int, float]]) -> Stored:
    """Return a dataset version of the home with its copy in the cloud, which is removed after it."""
    if stored.kind != "dataset" or not prefix:
        return stored
    cloud = _folder(prefix, "dataset", blobs, stored.digest)
    return Stored(
        "dataset",
        stored.name,
        stored.digest,
        (*stored.places, *cloud.places),
        stored.bytes + cloud.bytes,
        max(stored.at, cloud.at),
    )
