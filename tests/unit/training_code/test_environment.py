"""The image that jobs run in: pinned to the versions of the lock file."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "training_code" / "environment"
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, str]:
    found = PIN.findall(path.read_text(encoding="utf-8"))
    return dict(reversed(found))  # of several lines for a package, the first is for the older Python


@pytest.mark.guide("venv", "conda-yml")
def test_each_package_has_the_version_of_the_lock():
    locked, used = pins(PROJECT / "requirements" / "lock-azure.txt"), pins(FOLDER / "requirements.txt")
    assert {name: locked.get(name, version) for name, version in used.items()} == used


def test_what_the_jobs_programs_import_is_there():
    asked = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "matplotlib", "psutil"}
    asked |= {"dagster-pipes", "azure-identity", "azure-storage-blob", "jinja2", "pyyaml", "tqdm", "numpy"}
    assert asked <= set(pins(FOLDER / "requirements.txt"))


@pytest.mark.guide("conda-yml")
def test_the_image_is_pinned_and_has_no_sdk_v1():
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM (\S+)$", text, re.MULTILINE)
    assert base
    assert re.search(r":\d{8}\.v\d+$", base[1])
    assert not {"azureml-core", "azureml-defaults", "azureml-mlflow"} & set(pins(FOLDER / "requirements.txt"))
