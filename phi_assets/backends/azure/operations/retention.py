"""What the workspace's blob container and this home store for the graph on Azure."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.client.outputs import NotDeployed
from phi_assets.backends.azure.client.retry import log_to_run
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.azure.storage.blob import NoDatastore, WorkspaceBlobs
from phi_assets.backends.azure.storage.blob_documents import BlobDocuments
from phi_assets.backends.azure.storage.shared_folders import (
    FLOW_EVALUATIONS,
    FLOWS,
    MODELS,
    REPLAY,
    REPORTS,
    SharedFolders,
)
from phi_assets.backends.home_storage import EXPLAINS, WEIGHTS, HomeStorage, references
from phi_assets.models.retention_policy import Kind, Stored
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Retention
from phi_assets.records import ModelVersion, RecordUnreadable

# Folders of jobs, one for each recipe or job.
JOBS = ("phi/training/", "phi/evaluations/", "phi/replay_jobs/", "phi/hub/", "phi/pipes/")
SHARED: dict[Kind, str] = {
    "dataset": "phi/datasets/",
    "model": MODELS,
    "replay set": REPLAY,
    "evaluation": REPORTS,
    "flow": FLOWS,
    "flow evaluation": FLOW_EVALUATIONS,
}
TRACKED, TRAININGS = "trainings", "phi/trainings/"


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
        models = {_folder_of(model): model for model in self._models(blobs)}
        claimed = {prefix for prefix in models if any(name.startswith(f"{prefix}model/{WEIGHTS}") for name in blobs)}
        cloud = [
            *(self._weights(prefix, models[prefix], blobs) for prefix in sorted(claimed)),
            *(_folder(prefix, "job folder", blobs) for prefix in _prefixes(blobs, JOBS) if prefix not in models),
        ]
        in_cloud: dict[tuple[Kind, str], str] = {
            (kind, prefix.removeprefix(root).rstrip("/")): prefix
            for kind, root in SHARED.items()
            for prefix in _prefixes(blobs, (root,))
        }
        both = [_with_blobs(each, in_cloud.pop((each.kind, each.digest), ""), blobs) for each in home]
        others = [
            self._elsewhere(kind, digest, _folder(prefix, kind, blobs, digest))
            for (kind, digest), prefix in in_cloud.items()
        ]
        return [*both, *cloud, *others, *self._tracked(blobs, log)]

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
            refers_to=references(model),
        )

    def _models(self, blobs: dict[str, tuple[int, float]]) -> Iterator[ModelVersion]:
        """Every model of the project: those with a record in this home, and those that other machines made."""
        here = set()
        for path in sorted((Path(self.state) / "models").glob("*/record.json")):
            try:
                record = ModelVersion.load(path)
            except RecordUnreadable:
                continue
            if record:
                here.add(record.digest)
                yield record
        shared = SharedFolders(clients(self.account), MODELS, self.role_minutes)
        for prefix in _prefixes(blobs, (MODELS,)):
            digest = prefix.removeprefix(MODELS).rstrip("/")
            found = shared.remembered(digest) if digest not in here else None
            if isinstance(found, ModelVersion):
                yield found

    def _elsewhere(self, kind: Kind, digest: str, stored: Stored) -> Stored:
        """What another machine made, with what it refers to."""
        if kind not in ("model", "evaluation"):
            return stored
        found = SharedFolders(clients(self.account), SHARED[kind], self.role_minutes).remembered(digest)
        return replace(stored, refers_to=references(found))

    def _tracked(self, blobs: dict[str, tuple[int, float]], log: Log) -> Iterator[Stored]:
        here = {path.name: path for path in (Path(self.state) / TRACKED).glob("*.json")}
        shared = [name.removeprefix(TRAININGS) for name in blobs if name.startswith(TRAININGS)]
        documents = BlobDocuments(self._blobs(log), TRAININGS, Path(self.state) / "cache" / TRACKED)
        contents = {**{name: path.read_bytes() for name, path in here.items()}, **(documents.all() if shared else {})}
        for name, content in sorted(contents.items()):
            places = [
                *([str(here[name])] if name in here else []),
                *([blob.address(TRAININGS + name)] if name in shared else []),
            ]
            at = blobs[TRAININGS + name][1] if name in shared else here[name].stat().st_mtime
            model = str(json.loads(content).get("model", ""))
            stem = name.removesuffix(".json")
            yield Stored("tracked training", stem, stem, tuple(places), len(content), at, (model,))

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
    """Return what the home has with its copy in the cloud, which is removed after it."""
    if not prefix:
        return stored
    cloud = _folder(prefix, stored.kind, blobs, stored.digest)
    return replace(
        stored,
        places=(*stored.places, *cloud.places),
        bytes=stored.bytes + cloud.bytes,
        at=max(stored.at, cloud.at),
    )
