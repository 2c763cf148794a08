"""The wheel in an empty environment and an empty folder, as a user installs it."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi_assets.project import PROJECT

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(5400)]
OWN = """
import dagster as dg
from phi_assets.definitions import definitions

@dg.asset
def mine() -> int:
    return 1

defs = dg.Definitions.merge(definitions(), dg.Definitions(assets=[mine]))
"""
AZURE = {
    "PHI_BACKEND": "azure",
    "PHI_AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "PHI_AZURE_NAME": "phi",
    "PHI_AZURE_LOCATION": "eastus2",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist and of the wheel that is built from it, as `make wheel` makes them."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the base lock, torch and the wheel, without the extra."""
    return environment(tmp_path_factory.mktemp("environment"), "lock.txt", wheel)


@pytest.fixture(scope="module")
def python_with_azure(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the lock of the extra `azure`, torch and the sdist."""
    (sdist,) = built.glob("*.tar.gz")
    return environment(tmp_path_factory.mktemp("azure"), "lock-azure.txt", sdist)


def environment(folder: Path, lock: str, distribution: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    quiet = ["--quiet", "--disable-pip-version-check"]
    locked = ["--no-deps", "--require-hashes", "-r", f"requirements/{lock}"]
    for wanted in (locked, ["torch==2.13.0"], ["--no-deps", str(distribution)]):
        subprocess.run([python, "-m", "pip", "install", *quiet, *wanted], cwd=PROJECT, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    return python


@pytest.fixture
def empty(tmp_path: Path, python: Path) -> Iterator[Path]:
    """An empty folder to work in; what was started from it is stopped afterwards."""
    yield tmp_path
    phi(python, tmp_path, "down")


def phi(python: Path, folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PHI_", "PYTHON", "DAGSTER_"))}
    command = [python.with_name("phi"), *arguments]
    return subprocess.run(command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False)


def test_it_puts_nothing_but_the_package_into_site_packages(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"phi_assets"}


def test_phi_run_makes_the_whole_graph_in_an_empty_folder_without_the_extra(python, empty):
    # Beside other tests the measured speed is not the machine's, and a training of more than an hour is refused.
    done = phi(python, empty, "run", PHI_UI_PORT="4700", PHI_MAX_TRAIN_MINUTES="600", OMP_NUM_THREADS="2")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "chat_flow_evaluation" in done.stdout
    assert (empty / ".phi").is_dir()
    assert phi(python, empty, "status").returncode == 0
    assert "UI" in phi(python, empty, "run", PHI_UI_PORT="4700", PHI_MAX_TRAIN_MINUTES="600").stdout


def test_azure_without_the_extra_ends_in_one_sentence_with_the_pip_line(python, empty):
    done = phi(python, empty, "status", **AZURE)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'phi-assets[azure]'" in done.stderr


def test_a_user_adds_definitions_by_merging(python, empty):
    (empty / "my_project.py").write_text(OWN, encoding="utf-8")
    program = "from my_project import defs; print(sorted(k.to_user_string() for k in defs.resolve_all_asset_keys()))"
    done = subprocess.run([python, "-c", program], cwd=empty, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "'mine'" in done.stdout
    assert "'fine_tuned_model'" in done.stdout


def test_with_the_extra_the_definitions_of_the_azure_backend_load(python_with_azure, tmp_path):
    program = "from phi_assets.definitions import definitions; print(len(definitions().resolve_all_asset_keys()))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PHI_", "PYTHON", "DAGSTER_"))}
    command = [python_with_azure, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env={**kept, **AZURE}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 14  # those of a laptop, and the infrastructure
