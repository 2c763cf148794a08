"""Fixtures: a `Chain` of port results for each backend."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.infrastructure import compute
from phi_assets.backends.local.resources import local_resources
from phi_assets.settings import read
from tests.support.azure_place import Place, local_azure_at
from tests.support.homes import PRESET
from tests.support.port_chain import Chain
from tests.support.tiny_models import make_tiny_phi3
from tests.unit.training_code.conftest import conversations

WITH_JOBS = ("replay_store", "trainer", "evaluator")


@pytest.fixture(scope="module", params=["local", pytest.param("azure", marks=pytest.mark.azure)])
def chain(request, tmp_path_factory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("home")
    given = small_world(folder)
    if request.param == "local":
        resources = local_resources(read(given))
        try:
            yield Chain(resources, Path(given["PHI_DATASET"]), local_resources(read(given)))
        finally:
            resources["endpoint_host"].stop(print)
        return
    with local_azure_at(tmp_path_factory.mktemp("azure")) as control, pytest.MonkeyPatch.context() as patched:
        patched.setattr(compute, "POLL_SECONDS", 0.05)
        credential.forget()
        place = Place(control, folder, others=given)
        place.deploy()
        for step in ("ensure_workspace", "ensure_compute", "ensure_environment"):
            getattr(place.resources["provisioner"], step)()
        asked_often = {port: place.resources[port].model_copy(update={"poll_seconds": 0.3}) for port in WITH_JOBS}
        second = Place(control, folder, others={**given, "PHI_HOME": str(folder / "second")})
        yield Chain(place.resources | asked_often, Path(given["PHI_DATASET"]), second.resources)


def small_world(folder: Path) -> dict[str, str]:
    """Return settings with a tiny base model, 60 conversations and a preset that trains in seconds."""
    (folder / "preset.yaml").write_text(PRESET + "replay_share: 0.2\n", encoding="utf-8")
    rows = [json.dumps({"messages": row}) + "\n" for row in conversations(60, seed=1)]
    (folder / "raw.jsonl").write_text("".join(rows), encoding="utf-8")
    # A tiny base answers most prompts with nothing.
    told = {"role": "assistant", "content": "By a person with a pipe."}
    own = [[{"role": "user", "content": f"How is glass number {n} blown?"}, *([told] * (n % 2))] for n in range(12)]
    (folder / "replay.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in own), encoding="utf-8")
    general = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "answers": ["Paris"]}
    (folder / "general.jsonl").write_text(json.dumps(general) + "\n", encoding="utf-8")
    return {
        "PHI_HOME": str(folder / "home"),
        "PHI_DATASET": str(folder / "raw.jsonl"),
        "PHI_BASE_MODEL": str(make_tiny_phi3(folder / "tiny")),
        "PHI_PRESET": str(folder / "preset.yaml"),
        "PHI_NEAR_DUPLICATE_THRESHOLD": "0.95",
        "PHI_REPLAY": str(folder / "replay.jsonl"),
        "PHI_GENERAL_QUESTIONS": str(folder / "general.jsonl"),
    }
