"""What a home stores for the graph on either backend, as a clean sees it, and its removal."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from phi_assets.backends import content_store
from phi_assets.models.retention_policy import Kind, Stored
from phi_assets.records import Evaluation, ModelVersion, OptimizedModel, Record, RecordUnreadable

TRASH = ".trash"
WEIGHTS = "model.safetensors"
EXPLAINS = frozenset({"README.md", "loss_curve.png", "evaluation.png"})  # stays in a model's folder without weights
FOLDERS = (
    *("models", "datasets", "replay", "evaluations", "flows", "flow_evaluations", "agent_evaluations"),
    "optimized_models",
)
UNFINISHED = ("under-way-*", ".draft-*", ".writing-*", ".damaged-*", ".partial*")


class HomeStorage:
    """The folder `state` of a home. Things move to its trash in one step before they are deleted."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def stored(self) -> list[Stored]:
        """Return everything in the home that a clean may remove, besides what Dagster and MLflow store."""
        return [
            *self._models(),
            *self._datasets(),
            *self._by_digest("replay", "replay set"),
            *self._by_digest("evaluations", "evaluation"),
            *self._by_digest("flow_evaluations", "flow evaluation"),
            *self._by_digest("agent_evaluations", "agent evaluation"),
            *self._by_digest("deployments", "deployment"),
            *self._by_digest("optimized_models", "quantised model"),
            *self._flows(),
            *self._checkpoints(),
            *self._leftovers(),
        ]

    def remove(self, stored: Stored) -> None:
        """Move each place to the trash, in their order, and empty it."""
        for place in stored.places:
            self.discard(Path(place))
        self.sweep()

    def sweep(self) -> None:
        """Delete what is in the trash."""
        shutil.rmtree(self.state / TRASH, ignore_errors=True)

    def discard(self, path: Path) -> None:
        """Move a file or folder to the trash."""
        trash = self.state / TRASH
        trash.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(trash / uuid.uuid4().hex)
        except FileNotFoundError:
            return  # another clean was faster

    def _models(self) -> Iterator[Stored]:
        for folder in _folders(self.state / "models"):
            record = _record(folder)
            digest = record.digest if record else folder.name
            made_from = references(record)
            heavy = _heavy(folder)
            if heavy:
                size, at = sum(map(size_of, heavy)), _time_of(folder)
                yield Stored("weights", digest[:12], digest, tuple(map(str, heavy)), size, at, made_from)
            yield _stored("model", folder, digest, made_from)

    def _datasets(self) -> Iterator[Stored]:
        for folder in _folders(self.state / "datasets"):
            yield _stored("dataset", folder, folder.name)

    def _by_digest(self, name: str, kind: Kind) -> Iterator[Stored]:
        for folder in _folders(self.state / name):
            record = _record(folder)
            yield _stored(kind, folder, record.digest if record else folder.name, references(record))

    def _flows(self) -> Iterator[Stored]:
        for folder in _folders(self.state / "flows"):
            yield _stored("flow", folder, folder.name)

    def _checkpoints(self) -> Iterator[Stored]:
        for folder in _folders(self.state / "training"):
            yield _stored("checkpoints", folder, "")

    def _leftovers(self) -> Iterator[Stored]:
        for name in FOLDERS:
            for pattern in UNFINISHED:
                for path in sorted((self.state / name).glob(pattern)):
                    yield _stored("leftover", path, "")
        for path in sorted((self.state / "prompt_flow" / ".runs").glob("phi-*")):
            yield _stored("leftover", path, "")


def references(record: Record | None) -> tuple[str, ...]:
    """Return the digests of what a model was made from, or of the model that another record is of; none of others."""
    if isinstance(record, ModelVersion):
        return tuple(filter(None, (record.dataset_digest, record.base_digest, record.replay_digest)))
    return (record.model_digest,) if isinstance(record, Evaluation | OptimizedModel) else ()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.lstat().st_size if path.exists() else 0
    return sum(each.lstat().st_size for each in path.rglob("*") if each.is_file())


def _stored(kind: Kind, path: Path, digest: str, made_from: tuple[str, ...] = ()) -> Stored:
    name = (digest or path.name)[: 40 if kind == "leftover" else 12]
    return Stored(kind, name, digest, (str(path),), size_of(path), _time_of(path), made_from)


def _folders(root: Path) -> list[Path]:
    """Return the finished folders in `root`."""
    unfinished = {path for pattern in UNFINISHED for path in root.glob(pattern)}
    return sorted(path for path in root.glob("*") if path.is_dir() and path not in unfinished)


def _record(folder: Path) -> Record | None:
    try:
        return Record.load(folder / content_store.RECORD)
    except RecordUnreadable:
        return None


def _time_of(path: Path) -> float:
    """Return when it was written: the time of its record or manifest, else of its newest file."""
    for name in (content_store.RECORD, "manifest.json"):
        if (path / name).is_file():
            return (path / name).stat().st_mtime
    files = [each.lstat().st_mtime for each in path.rglob("*")] if path.is_dir() else []
    return max([path.lstat().st_mtime, *files])


def _heavy(folder: Path) -> list[Path]:
    """Return what a model's folder does not need to explain the model: the weights first, then the rest of its files.

    Nothing once they are gone. On Azure the weights are not here, and what is here explains the model.
    """
    model = folder / "model"
    weights = sorted(model.glob("*.safetensors"))
    beside = sorted(each for each in model.glob("*") if each not in weights and each.name not in EXPLAINS)
    found = [*weights, *beside, *(each for each in (folder / "adapter", folder / "checkpoints") if each.exists())]
    mask = folder / "mask.png"  # large, and mask.html has the same
    return [*found, mask] if found and mask.exists() else found
