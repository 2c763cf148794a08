"""What a run of `retrain` or `candidate` may be told: another preset, and another dataset version."""

import dataclasses
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.backends.dataset_preparation import cleaning_options
from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.defs.operations.candidates import Candidate
from phi_assets.defs.training.training_config import Training, dataset_of
from phi_assets.models.recipes import WrongRecipe
from phi_assets.records import DatasetVersion
from phi_assets.settings import read
from tests.support.homes import OWN


@pytest.fixture
def store(tmp_path: Path) -> LocalDatasetStore:
    source = tmp_path / "conversations.jsonl"
    settings = read({"PHI_DATASET": str(source), "PHI_PERSONAL_DATA": "keep"})
    return LocalDatasetStore(state=str(tmp_path), source=str(source), cleaning=cleaning_options(settings))


def published(store: LocalDatasetStore, rows: int) -> DatasetVersion:
    lines = OWN.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]
    Path(store.source).write_text("".join(lines), encoding="utf-8")
    return store.publish(lambda _: None)


def test_an_older_dataset_version_is_trained_on_where_it_is_named(store):
    older, newest = published(store, 40), published(store, 60)

    assert dataset_of("", store, newest) == newest
    assert dataset_of(newest.digest, store, newest) == newest
    assert dataset_of(older.digest, store, newest) == older


def test_a_dataset_version_that_is_not_there_is_refused_with_what_to_do(store):
    newest = published(store, 40)

    with pytest.raises(dg.Failure, match="there is no dataset version abc; take a whole data version from the page of"):
        dataset_of("abc", store, newest)


def test_a_preset_that_is_named_is_the_recipe_and_none_is_that_of_the_settings():
    assert Training().recipe() is None
    recipe = Training(preset="phi35-lora").recipe()
    assert recipe
    assert (recipe.preset, recipe.candidate, dict(recipe.changes)) == ("phi35-lora", "", {})


def test_an_unknown_preset_is_refused_before_anything_is_trained():
    with pytest.raises(WrongRecipe, match="nothing was trained"):
        Training(preset="none-such").recipe()


def test_a_candidate_s_dataset_is_no_part_of_its_recipe(tmp_path):
    settings = read({})
    plain, elsewhere = Candidate(epochs=1), Candidate(epochs=1, dataset="d1")

    assert dataclasses.asdict(plain.recipe(settings)) == dataclasses.asdict(elsewhere.recipe(settings))
