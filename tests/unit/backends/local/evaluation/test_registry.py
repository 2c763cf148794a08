import socket
import subprocess
import sys
from pathlib import Path

import pytest

from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.errors import ChampionChanged
from phi_assets.model_card import record
from phi_assets.models.champions import CannotPromote
from phi_assets.records import ModelVersion
from tests.support.fake_records import a_model, evaluated

WRITER = """
import sys
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
registry = MlflowRegistry(home=sys.argv[1])
client = registry.client
run = client.create_run(registry.experiment())
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


@pytest.fixture
def three(registry, tmp_path) -> list[ModelVersion]:
    """Models a, b and c, registered one after the other as versions 1, 2 and 3."""
    models = [written(tmp_path, name) for name in "abc"]
    for number, model in enumerate(models):
        registry.register(model, evaluated(model, f"phi-chat/{number}" if number else None), {})
    return models


def states(registry: MlflowRegistry) -> dict[str, str]:
    return {each.number: each.state for each in registry.versions()}


def test_a_rollback_withdraws_the_champion_for_the_one_before_it(registry, three):
    assert registry.rollback("rude", "run-1").version == "2"

    assert registry.champion().version == "2"
    assert states(registry) == {"1": "former", "2": "champion", "3": "withdrawn"}
    assert registry.versions()[0].withdrawn == "rude"
    assert registry.versions()[0].withdrawn_who == registry.versions()[1].promoted_who == registry.who()
    assert f" on {socket.gethostname()}" in registry.who()
    assert registry.client.get_model_version_by_alias("phi-chat", "champion").version == 2


def test_the_same_run_goes_back_once_and_the_next_once_more(registry, three):
    assert [registry.rollback("", run).version for run in ("run-1", "run-1", "run-2")] == ["2", "2", "1"]


def test_a_withdrawn_model_is_not_registered_again_and_a_newer_one_is(registry, three, tmp_path):
    registry.rollback("rude", "run-1")

    assert registry.register(three[2], evaluated(three[2], "phi-chat/2"), {}).version == "2"
    newer = written(tmp_path, "d")
    assert registry.register(newer, evaluated(newer, "phi-chat/2"), {}).version == "4"
    assert states(registry) == {"1": "former", "2": "former", "3": "withdrawn", "4": "champion"}
    assert registry.rollback("", "run-2").version == "2"


def test_a_withdrawn_version_promoted_by_hand_is_champion_and_its_successor_withdrawn(registry, three):
    registry.rollback("rude", "run-1")

    assert registry.promote("3", "polite", "run-2").version == "3"

    assert states(registry) == {"1": "former", "2": "withdrawn", "3": "champion"}
    assert registry.versions()[1].withdrawn == "replaced by hand by version 3: polite"
    assert registry.promote("3", "", "run-3").version == "3"
    assert states(registry)["2"] == "withdrawn"


def test_what_cannot_be_promoted_is_refused_with_what_can(registry, three):
    with pytest.raises(CannotPromote, match="no version '7'; there are: 1, 2, 3"):
        registry.promote("7", "", "run-1")
    Path(three[1].address, "model.safetensors").unlink()
    with pytest.raises(CannotPromote, match=r"version 2 cannot be served.*promote` one that has them: 3, 1"):
        registry.rollback("", "run-1")
    assert registry.champion().version == "3"


def test_without_a_former_champion_nothing_is_withdrawn(registry, tmp_path):
    model = written(tmp_path, "a")
    registry.register(model, evaluated(model, None), {})

    with pytest.raises(CannotPromote, match="no former champion"):
        registry.rollback("", "run-1")

    assert registry.champion().version == "1"


def test_a_champion_whose_weights_are_gone_gives_way_to_the_former_one(registry, three):
    Path(three[2].address, "model.safetensors").unlink()

    assert registry.rollback("its weights are gone", "run-1").version == "2"


def test_versions_without_a_rank_are_ranked_by_their_number(registry, three):
    for number in "123":
        registry.client.delete_model_version_tag("phi-chat", number, "rank")

    assert registry.champion().version == "3"
    assert registry.rollback("", "run-1").version == "2"


def test_a_version_is_found_by_its_number_and_its_card_by_its_digest(registry, three):
    champion = registry.champion()
    registry.publish_card(champion, "# a card", {})

    card = record.record(champion, "# a card")
    assert registry.find(card.digest) == card
    assert registry.card(champion) == "# a card"
    assert registry.version("1").model_digest == three[0].digest
    assert registry.version("9") is None
    Path(champion.address, "README.md").write_text("changed")
    assert registry.find(card.digest) is None


@pytest.mark.long
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
