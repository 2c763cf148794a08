"""The job `candidate` on a home with a model of two layers: real trainings, a real evaluation, real MLflow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from phi_assets.cli.models import experiments
from phi_assets.defs.operations.candidates import Candidate
from phi_assets.models import recipes
from phi_assets.settings import current
from tests.contracts.conftest import small_world
from tests.support.port_chain import in_a_run

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
MADE = [
    *("ml_workspace", "training_compute", "training_environment"),
    *("chat_dataset", "base_model", "replay_conversations", "fine_tuned_model"),
]
TRAINS = "loading torch"


@dataclass
class World:
    """A home, its definitions and its Dagster."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def port(self, name: str) -> Any:
        return (self.definitions.resources or {})[name]

    def make(self, *assets: str) -> None:
        parts: Any = [*(self.definitions.assets or []), *(self.definitions.asset_checks or [])]
        resources = self.definitions.resources
        assert dg.materialize(parts, selection=list(assets), resources=resources, instance=self.instance).success

    def candidate(self, **config: Any) -> Any:
        """Run the job; return its result."""
        job = self.definitions.resolve_job_def("candidate")
        run_config = {"ops": {"train_candidate": {"config": config}}}
        return job.execute_in_process(run_config=run_config, instance=self.instance, raise_on_error=False)

    def said(self, outcome: Any) -> list[str]:
        return [entry.user_message for entry in self.instance.all_logs(outcome.run_id) if entry.user_message]

    def metadata(self, outcome: Any, step: str) -> dict[str, Any]:
        (output,) = [e for e in outcome.all_events if e.event_type_value == "STEP_OUTPUT" and e.step_key == step]
        return {name: value.value for name, value in output.event_specific_data.metadata.items()}


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A home without any materialisation."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in small_world(tmp_path_factory.mktemp("home")).items():
            patched.setenv(name, value)
        current.cache_clear()
        from phi_assets.definitions import definitions

        with dg.DagsterInstance.ephemeral() as instance:
            yield World(definitions(), instance)
    current.cache_clear()


@pytest.fixture(scope="module")
def first(bare: World):
    """A home with a trained model, and the result of its first candidate."""
    bare.make(*MADE)
    return bare, bare.candidate(name="hasty", learning_rate=1e-3)


def test_the_job_s_own_configuration_is_whole_and_says_what_everything_is():
    from phi_assets.definitions import definitions

    job = definitions().resolve_job_def("candidate")

    assert dg.validate_run_config(job, dict(job.run_config or {}))
    assert dg.validate_run_config(job, {})
    assert set((job.run_config or {})["ops"]["train_candidate"]["config"]) == set(Candidate.model_fields)
    assert all(field.description for field in Candidate.model_fields.values())


def test_before_anything_was_made_it_says_what_to_make(bare: World):
    outcome = bare.candidate()

    assert not outcome.success
    assert "chat_dataset does not exist yet; materialise it first" in str(outcome.get_step_failure_events())


def test_a_wrong_value_is_refused_before_anything_is_spent(bare: World):
    outcome = bare.candidate(epochs=-1.0)

    (failure,) = outcome.get_step_failure_events()
    assert "epochs is -1.0: Input should be greater than 0" in str(failure.step_failure_data)
    assert not any(TRAINS in line for line in bare.said(outcome))


@pytest.mark.long
def test_a_candidate_is_measured_and_makes_no_asset(first):
    world, outcome = first
    assert outcome.success

    assert not [e for e in outcome.all_events if e.event_type_value == "ASSET_MATERIALIZATION"]
    assert world.port("registry").champion() is None
    assert world.instance.get_run_by_id(outcome.run_id).tags["phi/candidate"] == "hasty"
    told = world.metadata(outcome, "evaluate_candidate")
    assert {"scores", "answers", "verdicts", "bits_per_byte", "gate"} <= told.keys()
    assert "better_than_base" in told["verdicts"]
    assert told["gate"].startswith("fails")  # sixty conversations are too little evidence


@pytest.mark.long
def test_it_stands_beside_the_graph_s_own_training_in_mlflow(first):
    world, outcome = first
    runs = world.port("registry").client.search_runs([world.port("registry").experiment()])

    (own,) = [run for run in runs if "phi/candidate" not in run.data.tags]
    (tried,) = [run for run in runs if run.data.tags.get("phi/candidate") == "hasty"]
    assert (own.data.params["learning_rate"], tried.data.params["learning_rate"]) == ("0.003", "0.001")
    assert tried.data.tags["dagster_run"] == outcome.run_id
    assert tried.data.tags["phi/dataset"] == own.data.tags["phi/dataset"]
    assert {"final_loss", "best_validation_loss", "minutes", "bits_per_byte"} <= tried.data.metrics.keys()
    assert tried.data.tags["phi/gate"].startswith("fails")


@pytest.mark.long
def test_the_same_candidate_again_is_not_trained_again(first):
    world, outcome = first

    again = world.candidate(name="hasty", learning_rate=0.001)

    assert again.success
    assert any("has already trained this recipe" in line for line in world.said(again))
    assert not any(TRAINS in line for line in world.said(again))
    assert again.output_for_node("train_candidate") == outcome.output_for_node("train_candidate")
    assert len(world.port("registry").trainings()) == 2


@pytest.mark.long
def test_the_winner_s_file_is_a_preset_and_its_model_is_found(first, tmp_path):
    world, outcome = first
    told = world.metadata(outcome, "train_candidate")["as_preset"]
    assert "PHI_PRESET=winner.yaml" in told
    winner = tmp_path / "winner.yaml"
    winner.write_text(told.partition("```yaml\n")[2].removesuffix("```"), encoding="utf-8")
    assert yaml.safe_load(winner.read_text(encoding="utf-8"))["learning_rate"] == 1e-3

    records = world.port("io_manager")
    made = ("chat_dataset", "base_model", "replay_conversations")
    dataset, base, replay = (records.latest(dg.AssetKey(name)) for name in made)
    trainer = world.port("trainer").model_copy(update={"preset": str(winner)})
    found = in_a_run(lambda context: trainer.train(context, dataset, base, replay))

    assert found == outcome.output_for_node("train_candidate")
    assert recipes.of(str(winner), {}).learned_from()["learning_rate"] == 1e-3


@pytest.mark.long
def test_the_graph_s_own_training_is_found_too_and_one_that_was_damaged_is_made_again(first):
    world, _ = first
    records, trainer = world.port("io_manager"), world.port("trainer")
    own = records.latest(dg.AssetKey("fine_tuned_model"))
    made = ("chat_dataset", "base_model", "replay_conversations")
    dataset, base, replay = (records.latest(dg.AssetKey(name)) for name in made)
    assert in_a_run(lambda context: trainer.train(context, dataset, base, replay)) == own
    weights = Path(own.address, "model.safetensors")
    content = weights.read_bytes()
    weights.write_bytes(content[:-8] + b"\1" * 8)

    again = in_a_run(lambda context: trainer.train(context, dataset, base, replay))

    assert again.digest == own.digest
    assert again.training_run != own.training_run
    assert weights.read_bytes() == content


@pytest.mark.long
def test_the_command_shows_what_differs_and_what_it_is_worth(first, capsys):
    experiments(current(), as_json=True)
    rows = {each["candidate"]: each for each in json.loads(capsys.readouterr().out)}

    assert rows["hasty"]["differs"] == ["learning_rate=0.001"]
    assert rows["hasty"]["scores"]["bits_per_byte"] > 0
    assert (rows[""]["differs"], rows[""]["gate"]) == ([], "not evaluated")

    experiments(current(), as_json=False)
    assert "trainings, best first" in capsys.readouterr().out
