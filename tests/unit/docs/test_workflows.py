"""GitHub's workflows: what they run exists, they may only read, and they publish nothing."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from phi_assets.project import PROJECT

WORKFLOWS = sorted((PROJECT / ".github/workflows").glob("*.yml"))
IMAGES = {"training": "requirements.txt", "serving": "serving_code/server.py", "chat-flow": "flow.dag.yaml"}


def parsed(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def commands(workflow: dict[str, Any]) -> list[str]:
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_ends_and_takes_actions_by_their_major_version(path):
    workflow = parsed(path)

    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 180
        assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in job["steps"] if "uses" in step)
    assert not re.search(r"docker (push|login)|secrets\.|twine|upload", path.read_text(encoding="utf-8"))


def test_the_checks_run_on_both_versions_of_python():
    workflow = parsed(PROJECT / ".github/workflows/ci.yml")

    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    assert ".ci/run" in commands(workflow)
    assert (PROJECT / ".ci/run").is_file()


def test_every_make_target_of_a_workflow_exists():
    targets = {line.partition(":")[0] for line in (PROJECT / "Makefile").read_text("utf-8").splitlines() if ":" in line}
    called = {
        name for path in WORKFLOWS for text in commands(parsed(path)) for name in re.findall(r"make ([\w-]+)", text)
    }

    assert called
    assert called <= targets


@pytest.mark.parametrize("image", IMAGES)
def test_a_build_context_has_what_its_dockerfile_copies(image, tmp_path):
    matrix = parsed(PROJECT / ".github/workflows/images.yml")["jobs"]["build"]["strategy"]["matrix"]["image"]
    context = tmp_path / "context"

    subprocess.run([sys.executable, ".ci/build_context.py", image, str(context)], cwd=PROJECT, check=True)

    assert image in matrix
    assert (context / IMAGES[image]).is_file()
    copied = re.findall(r"^COPY (\S+) ", (context / "Dockerfile").read_text(encoding="utf-8"), re.M)
    assert [name for name in copied if not (context / name).exists()] == []
