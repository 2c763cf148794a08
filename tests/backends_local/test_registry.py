import subprocess
import sys
from pathlib import Path

import pytest

from phi_assets.backends.local.registry import MlflowRegistry
from phi_assets.backends.ports import ChampionChanged
from phi_assets.records import ModelVersion
from tests.made_up import a_model, evaluated

WRITER = """
import sys
from phi_assets.backends.local.registry import MlflowRegistry
registry = MlflowRegistry(home=sys.argv[1])
client = registry.client
run = client.create_run(registry._experiment())
client.log_metric(run.info.run_id, "loss", 1.0)
client.set_terminated(run.info.run_id)
"""


def written(folder: Path, name: str) -> ModelVersion:
    address = folder / name
    address.mkdir()
    (address / "model.safetensors").touch()
    return a_model(name * 8, str(address))


@pytest.fixture
def registry(tmp_path: Path) -> MlflowRegistry:
    return MlflowRegistry(home=str(tmp_path / "mlflow"))


def test_a_registered_model_is_the_champion_with_its_tags(registry, tmp_path):
    model = written(tmp_path, "a")

    registered = registry.register(model, evaluated(model, None), {"base_model": "b"})

    assert registry.champion() == registered
    assert registry.find(model.digest) == registered
    version = registry.client.get_model_version_by_alias("phi-chat", "champion")
    assert version.tags["dataset_digest"] == model.dataset_digest
    assert version.tags["base_model"] == "b"


def test_the_same_model_is_registered_once(registry, tmp_path):
    model = written(tmp_path, "a")
    first = registry.register(model, evaluated(model, None), {})

    assert registry.register(model, evaluated(model, None), {}) == first


def test_a_champion_that_was_not_compared_with_keeps_its_place(registry, tmp_path):
    first, second = written(tmp_path, "a"), written(tmp_path, "b")
    champion = registry.register(first, evaluated(first, None), {})

    with pytest.raises(ChampionChanged, match="materialise model_evaluation again"):
        registry.register(second, evaluated(second, None), {})

    assert registry.champion() == champion
    assert registry.register(second, evaluated(second, "phi-chat/1"), {}).version == "2"


def test_a_champion_whose_weights_are_gone_is_none(registry, tmp_path):
    model = written(tmp_path, "a")
    registry.register(model, evaluated(model, None), {})

    Path(model.address, "model.safetensors").unlink()

    assert registry.champion() is None
    assert registry.find(model.digest) is None


@pytest.mark.integration
def test_four_writers_on_a_fresh_home_give_no_error(tmp_path):
    home = str(tmp_path / "mlflow")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, home], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(4)
    ]
    outputs = [writer.communicate()[0] for writer in writers]

    assert [writer.returncode for writer in writers] == [0, 0, 0, 0], outputs
    found = MlflowRegistry(home=home).client.search_runs(
        [MlflowRegistry(home=home).client.get_experiment_by_name("phi-assets").experiment_id]
    )
    assert len(found) == 4
