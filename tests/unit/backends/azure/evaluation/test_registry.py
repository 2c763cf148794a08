"""The workspace's registry follows the same rules as the local one, without aliases."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.evaluation.registry import MODEL_NAME, AzureModelRegistry
from phi_assets.backends.azure.storage import blob
from phi_assets.errors import ChampionChanged
from phi_assets.model_card import record
from phi_assets.models.champions import CannotPromote
from phi_assets.records import ModelVersion
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, person_with
from tests.support.fake_records import a_model, evaluated

pytestmark = MARKS
MODELS = "Microsoft.MachineLearningServices/workspaces/models"


@pytest.fixture(scope="module")
def deployed(control: Control, tmp_path_factory) -> Place:
    made = Place(control, tmp_path_factory.mktemp("home"))
    made.deploy()
    return made


@pytest.fixture
def place(deployed: Place) -> Iterator[Place]:
    """A place without any model, registered or kept."""
    deployed.said.clear()
    yield deployed
    for found in (MODELS, f"{MODELS}/versions"):
        for model in deployed.control.resources(found):
            deployed.control.delete(model["id"])
    assert deployed.control.resources(MODELS) == deployed.control.resources(f"{MODELS}/versions") == []
    blobs(deployed).remove("phi/training/")


@pytest.fixture
def registry(place: Place) -> AzureModelRegistry:
    return AzureModelRegistry(account=place.clients.account.fields)


def written(place: Place, name: str) -> ModelVersion:
    blobs(place).write(f"phi/training/{name}/model/model.safetensors", name.encode())
    return a_model(name * 8, blob.address(f"phi/training/{name}/model"))


def blobs(place: Place) -> blob.WorkspaceBlobs:
    return blob.WorkspaceBlobs(place.clients, place.log, 0.5)


@pytest.mark.guide("register-model")
def test_a_registered_model_is_the_champion_with_its_tags(place, registry):
    model = written(place, "a")
    registered = registry.register(model, evaluated(model, None), {"base_model": "b"})
    assert registry.champion() == registered == registry.find(model.digest)
    assert (registered.name, registered.version, registered.address) == (MODEL_NAME, "1", model.address)
    tags = place.clients.ml().models.get(MODEL_NAME, "1").tags
    assert (tags["dataset_digest"], tags["base_model"]) == (model.dataset_digest, "b")


def test_before_the_first_there_is_no_champion(registry):
    assert registry.champion() is None
    assert registry.find("a" * 8) is None


def test_the_same_model_is_registered_once(place, registry):
    model = written(place, "a")
    first = registry.register(model, evaluated(model, None), {})
    place.control.forget_requests()
    assert registry.register(model, evaluated(model, None), {}) == first
    assert not place.writes("ml")


def test_a_champion_that_was_not_compared_with_keeps_its_place(place, registry):
    first, second = written(place, "a"), written(place, "b")
    champion = registry.register(first, evaluated(first, None), {})
    with pytest.raises(ChampionChanged, match="materialise model_evaluation again"):
        registry.register(second, evaluated(second, None), {})
    assert registry.champion() == champion
    assert registry.register(second, evaluated(second, f"{MODEL_NAME}/1"), {}).version == "2"


def test_of_two_that_register_at_once_one_becomes_champion(place, registry):
    models = [written(place, name) for name in "abcd"]

    def register(model: ModelVersion) -> str:
        mine = AzureModelRegistry(account=place.clients.account.fields)
        try:
            return mine.register(model, evaluated(model, None), {}).digest
        except ChampionChanged:
            return "changed"

    with ThreadPoolExecutor(len(models)) as pool:
        ended = list(pool.map(register, models))
    champion = registry.champion()
    assert champion is not None
    assert sorted(ended) == sorted([champion.digest, "changed", "changed", "changed"])


def test_a_lost_answer_registers_once(place, registry):
    model = written(place, "a")
    place.control.fail_next("PUT ml /models/", "dropped", times=2)
    assert registry.register(model, evaluated(model, None), {}).version == "1"
    assert [v.version for v in place.clients.ml().models.list(MODEL_NAME)] == ["1"]


@pytest.mark.parametrize("roles", [(), ("Reader",)], ids=["none", "Reader"])
def test_who_may_not_register_is_told_the_command(place, roles):
    registry = AzureModelRegistry(account=place.clients.account.fields, role_minutes=0.03)
    model = written(place, "a")
    with person_with(place, *roles), pytest.raises(AzureRefused, match="az role assignment create"):
        registry.register(model, evaluated(model, None), {})
    assert registry.versions() == []


def test_who_may_not_read_the_registry_is_told_at_once(place, registry):
    with (
        person_with(place),
        pytest.raises(AzureRefused, match=r"listing versions of phi-chat.*az role assignment create"),
    ):
        registry.champion()


def test_a_champion_whose_weights_are_gone_is_none(place, registry):
    model = written(place, "a")
    registry.register(model, evaluated(model, None), {})
    blobs(place).remove("phi/training/a/")
    assert registry.champion() is None
    assert registry.find(model.digest) is None


def test_a_retired_version_gives_way_to_the_one_before(place, registry):
    first, second = written(place, "a"), written(place, "b")
    registry.register(first, evaluated(first, None), {})
    registry.register(second, evaluated(second, f"{MODEL_NAME}/1"), {})
    newest = place.clients.ml().models.get(MODEL_NAME, "2")
    newest.tags["retired"] = "true"
    place.clients.ml().models.create_or_update(newest)
    champion = registry.champion()
    assert champion is not None
    assert champion.version == "1"


def test_an_archived_version_keeps_its_number(place, registry):
    first, second = written(place, "a"), written(place, "b")
    registry.register(first, evaluated(first, None), {})
    place.clients.ml().models.archive(MODEL_NAME, "1")
    assert registry.champion() is None
    assert registry.register(second, evaluated(second, None), {}).version == "2"


def test_a_rollback_withdraws_the_champion_and_the_withdrawn_one_is_not_registered_again(place, registry):
    first, second = written(place, "a"), written(place, "b")
    registry.register(first, evaluated(first, None), {})
    registry.register(second, evaluated(second, f"{MODEL_NAME}/1"), {})

    assert registry.rollback("rude", "run-1").version == "1"
    assert registry.rollback("rude", "run-1").version == "1"

    assert [(each.number, each.state, each.withdrawn) for each in registry.versions()] == [
        ("2", "withdrawn", "rude"),
        ("1", "champion", ""),
    ]
    assert registry.register(second, evaluated(second, f"{MODEL_NAME}/1"), {}).version == "1"
    with pytest.raises(CannotPromote, match=r"no former champion.*take one back with `phi promote`: 2"):
        registry.rollback("", "run-2")


def test_a_version_promoted_by_hand_is_above_all_and_the_next_above_it(place, registry):
    models = [written(place, name) for name in "abc"]
    for number, model in enumerate(models[:2]):
        registry.register(model, evaluated(model, f"{MODEL_NAME}/{number}" if number else None), {})

    assert registry.promote("1", "polite", "run-1").version == "1"

    assert registry.champion() == registry.version("1")
    assert registry.versions()[0].withdrawn == "replaced by hand by version 1: polite"
    assert registry.register(models[2], evaluated(models[2], f"{MODEL_NAME}/1"), {}).version == "3"
    assert registry.champion() == registry.version("3")
    with pytest.raises(CannotPromote, match="no version '9'; there are: 1, 2, 3"):
        registry.promote("9", "", "run-2")


def test_of_four_rollbacks_at_once_there_is_one_champion_and_one_is_withdrawn(place, registry):
    models = [written(place, name) for name in "ab"]
    for number, model in enumerate(models):
        registry.register(model, evaluated(model, f"{MODEL_NAME}/{number}" if number else None), {})

    with ThreadPoolExecutor(4) as pool:
        mine = [AzureModelRegistry(account=place.clients.account.fields) for _ in range(4)]
        ended = {found.version for found in pool.map(lambda each: each.rollback("", "run-1"), mine)}

    assert ended == {"1"}
    assert [each.state for each in registry.versions()] == ["withdrawn", "champion"]


def test_a_card_lies_beside_the_weights_and_is_found_by_its_digest(place, registry, tmp_path):
    model = written(place, "a")
    champion = registry.register(model, evaluated(model, None), {})
    (tmp_path / "loss_curve.png").write_bytes(b"png")
    assert registry.card(champion) is None

    address = registry.publish_card(champion, "# a card", {"loss_curve.png": tmp_path / "loss_curve.png"})

    assert blobs(place).read(blob.path_of(address)) == b"# a card"
    assert blobs(place).read("phi/training/a/model/loss_curve.png") == b"png"
    card = record.record(champion, "# a card")
    assert registry.find(card.digest) == card
    assert card.address == address
