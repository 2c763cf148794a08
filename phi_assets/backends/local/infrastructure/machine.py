"""This machine and this environment, as records."""

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

from phi_assets.records import Compute, TrainingEnvironment
from phi_assets.settings import PROJECT

LOCK = PROJECT / "requirements" / "lock.txt"
SHOWN = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "mlflow", "dagster", "promptflow")


def this_machine() -> Compute:
    """The processor that training runs on. Its digest covers what the numbers of a training depend on."""
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
    """The locked packages. The digest is the lock file's: what is installed is compared with it by a check."""
    return TrainingEnvironment(
        digest=hashlib.sha256(lock.read_bytes()).hexdigest(),
        name=lock.name,
        packages={name: metadata.version(name) for name in SHOWN},
    )


def differing_packages(lock: Path = LOCK) -> list[str]:
    """A line for each locked package of `SHOWN` whose installed version is another."""
    locked = dict(
        line.split(" ")[0].split(";")[0].strip().split("==", 1)
        for line in lock.read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.lstrip().startswith("#")
    )
    installed = {name: metadata.version(name).partition("+")[0] for name in SHOWN}
    return [
        f"{name}: locked {locked[name]}, installed {installed[name]}"
        for name in SHOWN
        if name in locked and locked[name] != installed[name]
    ]
