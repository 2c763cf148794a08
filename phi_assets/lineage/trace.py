"""The path from one answer back to its data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.answer_log import BASE, question
from phi_assets.conversations.quality_checks import read_split
from phi_assets.lineage.events import Deployed, TrainedFrom, deployed, trained_from
from phi_assets.lineage.nearest import Near, nearest
from phi_assets.models.champions import Version
from phi_assets.ports.dataset import DatasetStore
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.ports.training import BaseModelStore, Trainer
from phi_assets.records import BaseModel, DatasetVersion, RegisteredModel
from serving_code.answers import StoredAnswer


class NotTraceable(LookupError):
    """The answer is not from a model that the graph made."""


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """The path of an answer, from the deployment to the conversations. Unknown texts are empty.

    `job` is the job's name on Azure, whose page in Studio is `page`; on a laptop it is the MLflow run. `notes` list
    what was not found.
    """

    answer: StoredAnswer
    others: tuple[StoredAnswer, ...]
    deployed: Deployed | None
    model_state: str
    model_digest: str
    model_folder: str
    job: str
    page: str
    trained: TrainedFrom
    dataset: DatasetVersion | None
    files: tuple[str, ...]
    base_source: str
    nearest: tuple[Near, ...]
    notes: tuple[str, ...]

    @property
    def question(self) -> str:
        return question(self.answer)


def trace(instance: dg.DagsterInstance, resources: Mapping[str, Any], found: list[StoredAnswer]) -> Lineage:
    """Return the path of the first of `found`, all with one id. Raises NotTraceable for an answer of the base model."""
    answer, notes = found[0], list[str]()
    if answer.route == BASE:
        raise NotTraceable(
            f"{answer.id} is an answer of the base model {answer.model_name}, which was not trained on your "
            "conversations; ask the deployed model: phi ask"
        )
    version = _version(resources["registry"], answer, notes)
    model = version.model if version else None
    digest = model.model_digest if model else answer.model_digest
    trained, folder, page = _training(instance, resources["trainer"], digest, model, notes)
    dataset = _dataset(resources["dataset_store"], trained.dataset_digest, notes)
    by = deployed(instance, f"{answer.model_name} {answer.model_version}", digest, answer.at)
    if by is None:
        notes.append("the event log of this home has no deployment of this version")
    return Lineage(
        answer=answer,
        others=tuple(found[1:]),
        deployed=by,
        model_state=version.state if version else "",
        model_digest=digest,
        model_folder=folder,
        job=_job(resources["registry"], digest, trained.run),
        page=page,
        trained=trained,
        dataset=dataset,
        files=_files(resources["dataset_store"], dataset),
        base_source=_base(resources["base_model_store"], trained.base_digest),
        nearest=tuple(_nearest(resources["dataset_store"], dataset, answer)),
        notes=tuple(notes),
    )


def _version(registry: ModelRegistry, answer: StoredAnswer, notes: list[str]) -> Version | None:
    """Return the registered version of the answer; None, with a note, where the registry does not have it any more."""
    named = f"{answer.model_name} {answer.model_version}"
    known = (each for each in registry.versions() if f"{each.model.name} {each.number}" == named)
    found = next(known, None)
    if found is None:
        notes.append(f"the registry has no {named} any more; what is told of its training goes by the model's digest")
    elif answer.model_digest not in ("", found.model.model_digest):
        # The registry was recreated and its numbers restarted: the digest that is stored with the answer is right.
        notes.append(f"the registry's {named} is another model by now, {found.model.model_digest[:12]}")
        return None
    return found


def _training(
    instance: dg.DagsterInstance, trainer: Trainer, digest: str, known: RegisteredModel | None, notes: list[str]
) -> tuple[TrainedFrom, str, str]:
    """Return what the model was trained from, its folder, and the page of its training.

    Its weights may have been cleaned: the record tells all of it.
    """
    model = trainer.remembered(digest) if digest else None
    if model is not None:
        made = TrainedFrom(
            model.training_run,
            model.preset,
            model.code_version,
            model.dataset_digest,
            model.base_digest,
            model.replay_digest,
        )
        return made, model.address, trainer.page(model)
    if digest:
        notes.append("the model's files are gone; its training is told from Dagster's event log")
    if known is None:
        return TrainedFrom("", "", "", "", ""), "", ""
    logged = trained_from(instance, known.training_run) or TrainedFrom(known.training_run, "", "", "", "")
    return replace(logged, dataset_digest=known.dataset_digest), known.address, ""


def _job(registry: ModelRegistry, digest: str, run: str) -> str:
    tracked = [each for each in registry.trainings() if digest and each.model == digest]
    own = [each for each in tracked if each.dagster_run == run]
    return (own or tracked)[0].address if tracked else ""


def _dataset(store: DatasetStore, digest: str, notes: list[str]) -> DatasetVersion | None:
    found = store.find(digest) if digest else None
    if isinstance(found, DatasetVersion):
        return found
    gone = f"dataset version {digest[:12]} is gone from disk" if digest else "the dataset is not known"
    notes.append(f"{gone}, so that its conversations cannot be compared with the answer")
    return None


def _base(store: BaseModelStore, digest: str) -> str:
    found = store.find(digest) if digest else None
    return found.source if isinstance(found, BaseModel) else ""


def _files(store: DatasetStore, dataset: DatasetVersion | None) -> tuple[str, ...]:
    """Return the sources that the version was last read from."""
    sources = _manifest(store, dataset).get("sources", ()) if dataset else ()
    return tuple(
        each["feed"] if each["feed"].endswith(each["name"]) else f"{each['feed']}: {each['name']}" for each in sources
    )


def _manifest(store: DatasetStore, dataset: DatasetVersion) -> dict[str, Any]:
    """Return what was stored beside the version; empty where that file is gone."""
    import orjson

    path = store.folder(dataset) / "manifest.json"
    return orjson.loads(path.read_bytes()) if path.is_file() else {}


def _nearest(store: DatasetStore, dataset: DatasetVersion | None, answer: StoredAnswer) -> list[Near]:
    if dataset is None:
        return []
    folder: Path = store.folder(dataset)
    reviewed = set(_manifest(store, dataset).get("reviewed_rows", ()))
    found = nearest(read_split(folder, "train"), question(answer), answer.answer)
    return [replace(each, reviewed=each.id in reviewed) for each in found]
