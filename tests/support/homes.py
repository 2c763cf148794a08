"""Homes for `phi` with a two-layer model, a growing dataset and their own UI port, and `phi` commands on them."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import phi_assets
from phi_assets.cli.main import main
from phi_assets.project import PROJECT
from phi_assets.settings import Settings, current, read
from tests.support.tiny_models import make_tiny_phi3

OWN = PROJECT / "data" / "support" / "conversations.jsonl"
PRESET = """
method: full
max_length: 512
packing: true
packed_length: 256
batch_size: 1
accumulation: 1
epochs: 2
learning_rate: 3.0e-3
precision: fp32
"""
REAL_TRAINING = {
    "PHI_REPLAY": "none",
    "PHI_GENERAL_QUESTIONS": "none",
    "PHI_MAX_TRAIN_MINUTES": "600",  # beside other tests the measured speed is not the machine's
    "OMP_NUM_THREADS": "2",  # for the time when the other tests have ended
}
"""Settings of a home that trains the default base model in a test: without replay, which would take a third more."""


def own_rows(count: int) -> list[str]:
    """Return the first lines of the default dataset."""
    return OWN.read_text(encoding="utf-8").splitlines()[:count]


@dataclass(frozen=True)
class Home:
    """A home's folder and settings, with methods that run `phi` on it."""

    folder: Path
    settings: dict[str, str]

    def phi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.settings}
        command = [sys.executable, "-m", "phi_assets.cli.main", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)

    def run(self) -> set[str]:
        """Run `phi run`, which must succeed; return the materialised assets."""
        done = self.phi("run")
        assert done.returncode == 0, done.stdout + done.stderr
        return made(done.stdout)

    def told(self, *arguments: str) -> Any:
        """Return a command's `--json` output; on a laptop it runs in this process, where the libraries are loaded."""
        if self.settings.get("PHI_BACKEND") == "azure":  # clients and tokens are cached for the life of a process
            return json.loads(self.phi(*arguments, "--json").stdout)
        output = io.StringIO()
        with settings_of_its_own(self.settings), redirect_stdout(output):
            main([*arguments, "--json"])
        return json.loads(output.getvalue())

    def status(self) -> dict[str, str]:
        found = self.told("status")
        return {asset["name"]: asset["status"] for asset in found["assets"] if asset["status"] != "observed"}

    def ui(self) -> str:
        """Return the address of its running Dagster UI."""
        return self.told("status")["ui"]

    @property
    def dataset(self) -> Path:
        return self.folder / "conversations.jsonl"

    def add(self, *lines: str) -> None:
        with self.dataset.open("a", encoding="utf-8") as handle:
            handle.writelines(f"{line}\n" for line in lines)


@contextmanager
def settings_of_its_own(settings: dict[str, str]) -> Iterator[None]:
    """Apply settings during the block as a new process would: modules that read settings at import are reloaded."""
    before = _unload_definitions()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.items():
            patched.setenv(name, value)
        current.cache_clear()
        try:
            yield
        finally:
            current.cache_clear()
            _unload_definitions()
            sys.modules.update(before)
            for name in ("defs", "definitions"):
                if f"phi_assets.{name}" in before:
                    setattr(phi_assets, name, before[f"phi_assets.{name}"])


def _unload_definitions() -> dict[str, ModuleType]:
    """Remove the modules that read settings at import from sys.modules; return them."""
    names = [name for name in sys.modules if re.match(r"phi_assets\.(defs|definitions)\b", name)]
    return {name: sys.modules.pop(name) for name in names}


def chat_link(home: Home) -> str:
    """Return the link that `phi chat` prints; on a laptop it opens the chat once."""
    told = home.phi("chat", "--link")
    assert told.returncode == 0, told.stderr
    (link,) = re.findall(r"https?://\S+", told.stdout)
    return link


def dataset_text(home: Home) -> str:
    """Return the text of the newest dataset that this home published."""
    root = settings_of(home).state
    digest = json.loads((root / "records" / "chat_dataset.json").read_text(encoding="utf-8"))["digest"]
    return "".join(file.read_text(encoding="utf-8") for file in (root / "datasets" / digest).glob("*.jsonl"))


def made(output: str) -> set[str]:
    """Return the materialised assets of the command's outcome table."""
    cells = [re.split(" {2,}", line) for line in output.splitlines()]
    return {row[0] for row in cells if len(row) > 1 and row[1] == "materialised"}


def settings_of(home: Home) -> Settings:
    """Return the home's settings as the project reads them."""
    return read({name: value for name, value in home.settings.items() if name.startswith("PHI_")})


def tiny_home(folder: Path, dataset: Path, ui_port: int) -> Home:
    """Return a home in `folder` for the dataset, with a base model that trains in seconds."""
    (folder / "tiny.yaml").write_text(PRESET, encoding="utf-8")
    return Home(
        folder,
        {
            "PHI_HOME": str(folder / "home"),
            "PHI_DATASET": str(dataset),
            "PHI_BASE_MODEL": str(make_tiny_phi3(folder / "tiny")),
            "PHI_PRESET": str(folder / "tiny.yaml"),
            # A tiny base answers nothing that is asked, and asking takes its time.
            "PHI_REPLAY": "none",
            "PHI_GENERAL_QUESTIONS": "none",
            "PHI_PROMOTE_ON_INSUFFICIENT_EVIDENCE": "true",
            "PHI_UI_PORT": str(ui_port),
        },
    )
