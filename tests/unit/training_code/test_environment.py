"""The image that jobs run in: pinned to the versions of the lock file."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from phi_assets.lock_files import pins

PROJECT = Path(__file__).resolve().parents[3]
FOLDER = PROJECT / "training_code" / "environment"
IMAGE = {"python_version": "3.11", "python_full_version": "3.11.13"}


@pytest.mark.guide("venv", "conda-yml")
def test_each_package_has_the_version_of_the_lock():
    used = pins(FOLDER / "requirements.txt")
    locked = pins(PROJECT / "requirements" / "lock-azure.txt", IMAGE)
    shared = locked.keys() & used.keys()
    assert {name: locked[name] for name in shared} == {name: used[name] for name in shared}
    # torch's build is not in the lock of a machine, and bitsandbytes needs a GPU.
    only_here = used.keys() - locked.keys() - {"bitsandbytes"}
    assert all(name == "torch" or name.startswith(("nvidia-", "cuda-", "triton")) for name in only_here), only_here
    assert used["torch"] == metadata.version("torch").partition("+")[0]


def test_what_the_jobs_programs_import_is_there():
    asked = {"torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors", "matplotlib", "psutil"}
    asked |= {
        "dagster-pipes",
        "azure-identity",
        "azure-storage-blob",
        "jinja2",
        "pyyaml",
        "tqdm",
        "numpy",
        "bitsandbytes",
    }
    assert asked <= set(pins(FOLDER / "requirements.txt"))


@pytest.mark.guide("conda-yml")
def test_the_image_is_pinned_and_has_no_sdk_v1():
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM (\S+)$", text, re.MULTILINE)
    assert base
    assert re.search(r":\d{8}\.v\d+$", base[1])
    assert not {"azureml-core", "azureml-defaults", "azureml-mlflow"} & set(pins(FOLDER / "requirements.txt"))
