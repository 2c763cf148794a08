"""The laptop's infrastructure: MLflow on SQLite, this machine and this Python environment."""

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from phi_assets.backends import content_store
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.lock_files import pins
from phi_assets.ports.base import Decides
from phi_assets.ports.infrastructure import Provisioner
from phi_assets.project import PROJECT
from phi_assets.records import Compute, Record, TrainingEnvironment, Workspace

LOCK = PROJECT / "requirements" / "lock.txt"
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "mlflow", "dagster")


class LocalProvisioner(Provisioner):
    """The laptop's workspace, compute and environment."""

    decides: ClassVar = {
        "ml_workspace": Decides(modules=("local.evaluation.registry",)),
        "training_compute": Decides(),
        "training_environment": Decides(),
    }
    state: str

    def find(self, digest: str) -> Record | None:
        for record in (this_machine(), this_environment()):
            if record.digest == digest:
                return record
        return content_store.find(
            self._root, digest, lambda folder: (folder.parent.parent / "mlflow" / "mlflow.db").is_file()
        )

    def ensure_workspace(self) -> Workspace:
        registry = MlflowRegistry(home=str(Path(self.state) / "mlflow"))
        registry.migrate()
        uri = registry.tracking_uri
        workspace = Workspace(digest=hashlib.sha256(uri.encode()).hexdigest(), name="laptop", tracking_uri=uri)
        folder = content_store.place(self._root, workspace.digest)
        folder.mkdir(parents=True, exist_ok=True)
        content_store.put(workspace, folder)
        return workspace

    def ensure_compute(self) -> Compute:
        return this_machine()

    def ensure_environment(self) -> TrainingEnvironment:
        return this_environment()

    def differing_packages(self) -> list[str]:
        return differing_packages()

    @property
    def _root(self) -> Path:
        return Path(self.state) / "workspaces"


def this_machine() -> Compute:
    """The processor that training runs on. Its digest covers what training results depend on."""
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    device = "cpu"
    kind = f"{platform.machine()}-{device}-{cores}"
    return Compute(
        digest=hashlib.sha256(kind.encode()).hexdigest(),
        name=platform.processor() or platform.machine(),
        device=device,
        cores=cores,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
    )


def this_environment(lock: Path = LOCK) -> TrainingEnvironment:
    """The locked packages. The digest is over their names: releases are recorded and make no model stale.

    A check compares the installed packages with the lock file.
    """
    return TrainingEnvironment(
        digest=hashlib.sha256("\n".join(sorted(pins(lock))).encode()).hexdigest(),
        name=lock.name,
        packages={name: metadata.version(name) for name in SHOWN},
    )


def differing_packages(lock: Path = LOCK) -> list[str]:
    """A line for each package of `SHOWN` whose installed version differs from the lock file."""
    locked = pins(lock)
    installed = {name: metadata.version(name).partition("+")[0] for name in SHOWN}
    return [
        f"{name}: locked {locked[name]}, installed {installed[name]}"
        for name in SHOWN
        if name in locked and locked[name] != installed[name]
    ]
