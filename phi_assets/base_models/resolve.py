"""The text that names a base model becomes a model folder on this machine, made once and found again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from phi_assets.base_models import hub_snapshot
from phi_assets.base_models.convert import CONVERSION_VERSION, convert_gguf_llama
from phi_assets.base_models.errors import BaseModelMissing, HubUnreachable
from phi_assets.base_models.model_store import ModelRecord, ResolvedModel, publish, read_record, workshop, write_record
from phi_assets.base_models.prepare_model import PREPARATION_VERSION, prepare_model
from phi_assets.base_models.reference import BaseModelSpec, FolderModel, HubModel, PackagedModel, parse_base_model
from phi_assets.base_models.sources import folder_state, locate_packaged
from phi_assets.records import BaseModel

Progress = Callable[[str], None]
# Takes an empty folder to work in; gives the model folder as obtained, and what to say about it.
Obtain = Callable[[Path], tuple[Path, list[str]]]


def resolve(spec: BaseModelSpec, root: Path, progress: Progress | None = None) -> ResolvedModel:
    """The model that ``spec`` names lies under ``root``, safe to load, its special tokens agreeing.

    Found again in well under a second, without torch, while neither the source nor the folder changed; a folder that
    is missing or damaged is made again. ``progress`` gets a line of text per step. Raises BaseModelError.
    """
    say = progress or (lambda _: None)
    if isinstance(spec, HubModel):
        return _resolve_hub(spec, root, say)
    found = find(spec, root)
    if found is not None:
        return found
    return _resolve_packaged(spec, root, say) if isinstance(spec, PackagedModel) else _resolve_folder(spec, root, say)


def resolve_named(name: str, relative_to: Path, root: Path, progress: Progress) -> BaseModel:
    """The record of the model that the setting PHI_BASE_MODEL names, made under ``root`` when it is missing.

    A folder in ``name`` is relative to ``relative_to``. ``progress`` gets the notes on the model too. Raises
    BaseModelError.
    """
    found = resolve(parse_base_model(name, relative_to=relative_to), root, progress)
    for note in found.notes:
        progress(note)
    return found.record()


def find(spec: BaseModelSpec, root: Path) -> ResolvedModel | None:
    """What ``resolve`` would give without work or network, or None. A hub branch is not asked for a newer commit.

    A model stays usable when its package, folder or hub is gone: the copy under ``root`` is whole by itself.
    """
    record = read_record(root, spec.text)
    if record is None:
        return None
    try:
        state = record.source_state if isinstance(spec, HubModel) else _state_now(spec)
    except BaseModelMissing:
        state = record.source_state
    return record.resolved(root) if record.source_state == state else None


def _resolve_packaged(spec: PackagedModel, root: Path, say: Progress) -> ResolvedModel:
    gguf = locate_packaged(spec)
    source = f"pypi:{spec.package}=={gguf.version}"

    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        say(f"converting {gguf.path.name} of {source} to Phi3ForCausalLM")
        return workplace / "converted", convert_gguf_llama(gguf.path, workplace / "converted")

    return _make_once(spec, root, _state_now(spec), source, obtain)


def _resolve_folder(spec: FolderModel, root: Path, say: Progress) -> ResolvedModel:
    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        del workplace
        say(f"checking {spec.path}")
        return spec.path, []

    return _make_once(spec, root, _state_now(spec), spec.text, obtain)


def _resolve_hub(spec: HubModel, root: Path, say: Progress) -> ResolvedModel:
    found = find(spec, root)
    if found is not None and spec.revision and hub_snapshot.COMMIT.fullmatch(spec.revision):
        return found
    try:
        commit = hub_snapshot.find_commit(spec)
    except HubUnreachable:
        if found is None:
            raise
        return replace(found, notes=[*found.notes, "the hub could not be asked for a newer commit"])
    source = f"hf:{spec.repository}@{commit.commit}"
    # Kept until the model is made, so that an interrupted download goes on where it stopped.
    fetching = root / f".fetching-{hashlib.sha256(source.encode()).hexdigest()[:16]}"

    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        del workplace
        say(f"fetching {len(commit.files)} files of {source}")
        return fetching, hub_snapshot.fetch(commit, fetching)

    made = _make_once(spec, root, _state(commit.commit), source, obtain)
    shutil.rmtree(fetching, ignore_errors=True)
    return made


def _make_once(spec: BaseModelSpec, root: Path, state: str, source: str, obtain: Obtain) -> ResolvedModel:
    """The model that ``obtain`` gives is prepared, published and recorded, unless another process just did it."""
    with workshop(root) as workplace:
        record = read_record(root, spec.text)
        if record is not None and record.source_state == state:
            return record.resolved(root)
        obtained, notes = obtain(workplace)
        prepared = prepare_model(obtained, workplace / "model", link=obtained.is_relative_to(root))
        digest, files = publish(root, workplace / "model")
        record = ModelRecord(
            text=spec.text,
            source_state=state,
            digest=digest,
            source=source,
            notes=[*notes, *prepared.notes],
            parameters=prepared.parameters,
            architecture=prepared.architecture,
            context_length=prepared.context_length,
            files=files,
        )
        write_record(root, record)
        return record.resolved(root)


def _state_now(spec: PackagedModel | FolderModel) -> str:
    if isinstance(spec, FolderModel):
        return _state(folder_state(spec))
    return _state(f"{locate_packaged(spec).state} conversion {CONVERSION_VERSION}")


def _state(content: str) -> str:
    return f"{content} preparation {PREPARATION_VERSION}"
