"""Training on this machine: what the child process is given, and what is stored of it."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends.dataset_preparation import DatasetPreparation
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.backends.local.training.trainer import LocalTrainer
from phi_assets.graph.run_tags import CANDIDATE
from phi_assets.models import recipes
from phi_assets.models.recipes import Recipe
from phi_assets.records import BaseModel, DatasetVersion, ModelVersion
from tests.support.azure_jobs import CLEANING, PRESET
from tests.support.fake_records import NO_REPLAY
from tests.support.tiny_models import make_tiny_phi3
from tests.unit.training_code.conftest import conversations


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def dataset(state: Path) -> DatasetVersion:
    """60 conversations and 30 pairs, published."""
    pairs = [
        {
            "prompt": f"Where is the {n} {n * 7} {n * 13} lamp?",
            "chosen": f"{n} HERE",
            "rejected": f"{n}, I do not know.",
        }
        for n in range(30)
    ]
    rows = [*({"messages": each} for each in conversations(60, seed=1)), *pairs]
    (state / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    preparation = DatasetPreparation(state, str(state / "raw.jsonl"), CLEANING)
    return preparation.publish(preparation.feeds(), print)


@pytest.fixture(scope="module")
def base(state: Path) -> BaseModel:
    folder = make_tiny_phi3(state / "tiny")
    return BaseModel(
        digest="b", address=str(folder), source="made", architecture="Phi3", parameters=1, context_length=2048
    )


def preset(state: Path, preference: str) -> str:
    file = state / f"{preference}.yaml"
    file.write_text(PRESET.format(epochs=1, preference=preference), encoding="utf-8")
    return str(file)


@dataclass
class Home:
    """A trainer with its registry, and the id of the last Dagster run."""

    trainer: LocalTrainer
    registry: MlflowRegistry
    dagster_run: str = ""

    def train(self, dataset: DatasetVersion, base: BaseModel, recipe: Recipe) -> ModelVersion | None:
        """The model; None of a failed training."""
        made: list[ModelVersion] = []

        @dg.asset
        def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            made.append(self.trainer.train(context, dataset, base, NO_REPLAY, recipe))
            return dg.MaterializeResult()

        self.dagster_run = dg.materialize([model], raise_on_error=False).run_id
        return made[0] if made else None

    def runs(self) -> list[Any]:
        return self.registry.client.search_runs([self.registry.experiment()])

    def steps(self, run: str, key: str) -> list[int]:
        return sorted(each.step for each in self.registry.client.get_metric_history(run, key))


@pytest.fixture
def home(state: Path) -> Home:
    trainer = LocalTrainer(state=str(state), preset=preset(state, "dpo"), max_minutes=5, mlflow=str(state / "mlflow"))
    return Home(trainer, MlflowRegistry(home=trainer.mlflow))


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning")
def test_the_pairs_of_the_dataset_are_learned_and_the_curves_grow_in_one_mlflow_run(
    home: Home, state: Path, dataset: DatasetVersion, base: BaseModel
):
    recipe = recipes.of(preset(state, "dpo"), {"learning_rate": 1e-3}, "hotter")
    assert home.train(replace(dataset, address=str(state / "nowhere")), base, recipe) is None
    assert [each.info.status for each in home.runs()] == ["FAILED"]
    model = home.train(dataset, base, recipe)
    assert model is not None

    folder = home.trainer.folder(model)
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))["preference"]
    assert dataset.pairs == 30
    assert found["pairs"] == {"train": 18, "held_out": 12, "held_out_share": 0.4, "left_out": {}}
    assert (found["not_done"], found["steps"], len(found["losses"])) == ("", 5, 5)
    assert (folder / "preference_curve.png").is_file()

    [live] = [each.info.run_id for each in home.runs()]  # that of the failed training, which had the same inputs
    steps = list(range(1, (model.steps or 0) + 1))
    assert home.steps(live, "loss") == steps
    assert home.steps(live, "preference_loss") == [1, 2, 3, 4, 5]
    assert home.registry.trainings() == []
    tags = {CANDIDATE: "hotter", "dagster_run": home.dagster_run, "dataset": dataset.digest}
    assert home.registry.log_training(model, folder, tags) == live
    assert home.steps(live, "loss") == steps
    assert home.registry.client.get_run(live).info.status == "FINISHED"
    assert [(each.candidate, each.model) for each in home.registry.trainings()] == [("hotter", model.digest)]


def test_a_recipe_without_preferences_and_a_dataset_without_pairs_get_no_file(
    state: Path, dataset: DatasetVersion, base: BaseModel
):
    trainer = LocalTrainer(state=str(state), preset="laptop", max_minutes=5)

    def given(version: DatasetVersion, name: str) -> list[str]:
        arguments = trainer._arguments(version, base, None, recipes.of(preset(state, name), {}), state / "work")
        return [each for each in arguments if each.startswith("--preference_file")]

    assert given(dataset, "dpo") == [f"--preference_file={Path(dataset.address, 'preferences.jsonl')}"]
    assert given(dataset, "none") == given(replace(dataset, pairs=0), "dpo") == []
