"""Thirty retrainings in a row of a two-layer model, with a clean after each: the home stops growing."""

import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends import disk_space
from phi_assets.backends.home_storage import size_of
from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import ask_deployed
from phi_assets.cli.main import main
from phi_assets.instance import home
from phi_assets.records import Endpoint, Evaluation, ModelVersion, RegisteredModel
from phi_assets.settings import current
from tests.contracts.conftest import small_world
from tests.unit.training_code.conftest import conversations

pytestmark = [
    pytest.mark.long,
    pytest.mark.integration,
    pytest.mark.timeout(3000),
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
ROUNDS, EARLY = 30, 10
DEPLOYED = (1, 5)
ONCE = ["ml_workspace", "training_compute", "training_environment", "base_model", "replay_conversations"]
MOST_GROWTH = 1.25  # of the home, from the tenth round to the thirtieth
Usage = namedtuple("Usage", "total used free")


@dg.asset
def registered_model(context: dg.AssetExecutionContext, fine_tuned_model: ModelVersion) -> dg.MaterializeResult[Any]:
    """The model of this round as champion, without the gate, which a random model does not pass."""
    registry = build_resources(current())["registry"]
    champion = registry.champion()
    evaluation = Evaluation(
        digest=f"{context.run.run_id}",
        address="",
        model_digest=fine_tuned_model.digest,
        dataset_digest=fine_tuned_model.dataset_digest,
        champion=champion and f"{champion.name}/{champion.version}",
    )
    made: RegisteredModel = registry.register(fine_tuned_model, evaluation, {})
    return dg.MaterializeResult(value=made, data_version=dg.DataVersion(made.digest))


@dg.asset
def online_endpoint() -> dg.MaterializeResult[Endpoint]:
    """The endpoint."""
    return dg.MaterializeResult(value=build_resources(current())["endpoint_host"].ensure_endpoint(print))


class Grown:
    """A home that is retrained again and again: its size after each clean, and the answers that were asked."""

    def __init__(self, instance: dg.DagsterInstance, dataset: Path) -> None:
        from phi_assets.definitions import definitions

        found = definitions()
        self.instance, self.dataset = instance, dataset
        self.parts: Any = [*(found.assets or []), *(found.asset_checks or [])]
        self.resources = found.resources
        self.sizes: list[int] = []
        self.answers: list[dict[str, Any]] = []
        self.runs: list[str] = []
        self.make(*ONCE)
        self.ported(online_endpoint)

    def make(self, *names: str) -> None:
        done = dg.materialize(self.parts, selection=list(names), resources=self.resources, instance=self.instance)
        assert done.success
        self.runs.append(done.run_id)

    def ported(self, asset: dg.AssetsDefinition) -> None:
        source = dg.AssetSpec("fine_tuned_model")
        assert dg.materialize(
            [asset, source], selection=[asset], resources=build_resources(current()), instance=self.instance
        ).success

    def retrain(self, number: int) -> None:
        with self.dataset.open("a", encoding="utf-8") as rows:
            rows.writelines(json.dumps({"messages": each}) + "\n" for each in conversations(5, seed=100 + number))
        self.make("chat_dataset", "fine_tuned_model")
        self.ported(registered_model)
        if number in DEPLOYED:
            self.make("online_deployment")
            self.answers.append(ask_deployed(current(), "Where is the pump?"))
        assert main(["clean"]) == 0
        self.sizes.append(size_of(current().state))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    given = {
        **small_world(folder),
        # As if each round were months after the last.
        "PHI_KEEP_MODELS": "2",
        "PHI_KEEP_DAYS": "0",
        "PHI_KEEP_QUIET_DAYS": "0",
    }
    with pytest.MonkeyPatch.context() as patched:
        for name, value in given.items():
            patched.setenv(name, value)
        current.cache_clear()
        try:
            with home.instance(current()) as instance:
                its = Grown(instance, Path(given["PHI_DATASET"]))
                for number in range(1, ROUNDS + 1):
                    its.retrain(number)
                yield its
        finally:
            build_resources(current())["endpoint_host"].stop(print)
    current.cache_clear()


def test_the_home_stops_growing(grown: Grown):
    print([round(size / 1e6, 2) for size in grown.sizes])
    assert len(grown.sizes) == ROUNDS
    assert grown.sizes[-1] < MOST_GROWTH * grown.sizes[EARLY - 1]
    # Of the champion, the former champion, and the fifth model, which is still deployed.
    assert len(list((current().state / "models").glob("*/model/model.safetensors"))) == 3


def test_answers_of_models_whose_weights_are_gone_are_still_explained(grown: Grown, capsys):
    for number, answer in zip(map(str, DEPLOYED), grown.answers, strict=True):
        capsys.readouterr()
        assert main(["why", answer["id"], "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["notes"] == []
        assert found["answer"]["model_version"] == number
        assert found["trained"]["dataset_digest"] == answer["dataset_digest"]
        assert len(found["nearest"]) == 3
        assert found["deployed"]["run"]


def test_without_room_a_training_is_refused_before_it_starts(grown: Grown, monkeypatch):
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _path: Usage(10**12, 0, disk_space.SLACK))
    rows = [json.dumps({"messages": each}) + "\n" for each in conversations(5, seed=999)]
    with grown.dataset.open("a", encoding="utf-8") as file:
        file.writelines(rows)
    monkeypatch.setattr("phi_assets.backends.dataset_preparation.require_space", lambda *_: 0)
    names = ["chat_dataset", "fine_tuned_model"]

    done = dg.materialize(
        grown.parts, selection=names, resources=grown.resources, instance=grown.instance, raise_on_error=False
    )

    (failure,) = done.get_step_failure_events()
    own = failure.step_failure_data.user_failure_data
    said = (own.description if own else "") or ""
    assert said.startswith("this training needs about ")
    assert "free some with `phi clean`" in said
    assert not any("loading torch" in (each.user_message or "") for each in grown.instance.all_logs(done.run_id))
