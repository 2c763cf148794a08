"""The asset optimized_model: in the graph when it is asked for, and what the deployment does with its decision."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends.local.serving.optimizer import GRAPH, REPORT, LocalModelOptimizer
from phi_assets.defs.serving.assets import optimized_form
from phi_assets.defs.serving.metadata import describe_optimized
from phi_assets.defs.serving.optimized_model import close_to_full_model
from phi_assets.records import OptimizedModel, RegisteredModel
from tests.support.graph_facts import facts_of

MODEL = RegisteredModel(
    digest="m", name="phi-chat", version="2", address="/m", model_digest="m", dataset_digest="d", training_run="r"
)
MEASURED: dict[str, Any] = {
    "form": "int8",
    "runtime": "onnxruntime 1.32.0",
    "tokens": 12_000,
    "test_tokens": 900,
    "agreement": 0.995,
    "kl": 0.0007,
    "bits_change": 0.001,
    "bits_per_byte": {"full": 1.0, "quantized": 1.001},
    "questions": None,
}
FAR = {**MEASURED, "agreement": 0.5}


def optimizer(tmp_path) -> LocalModelOptimizer:
    return LocalModelOptimizer(state=str(tmp_path), form="int8", questions_file=None, general_file=None)


def kept(made: LocalModelOptimizer, tmp_path, report: dict[str, Any]) -> OptimizedModel:
    work = tmp_path / "work"
    work.mkdir()
    (work / GRAPH).write_bytes(b"graph")
    (work / f"{GRAPH}.data").write_bytes(b"weights")
    (work / REPORT).write_text(json.dumps(report))
    return made._keep(work, MODEL)


@pytest.mark.integration
def test_it_stands_before_the_deployment_only_where_it_is_asked_for():
    asked = facts_of("local", ("PHI_QUANTIZE", "int8"))["graph"]["assets"]

    assert set(asked) - set(facts_of("local")["graph"]["assets"]) == {"optimized_model"}
    assert "optimized_model" in asked["online_deployment"]["upstream"]
    assert asked["optimized_model"]["checks"] == ["close_to_full_model"]


@pytest.mark.integration
def test_its_program_and_its_setting_make_it_again():
    code = facts_of("local", ("PHI_QUANTIZE", "int8"))["code"]["optimized_model"]

    assert {"quantization_code", "serving_code", "evaluation_code"} <= set(code["programs"])
    assert "quantize" in code["settings"]
    versions = {facts_of("local", ("PHI_QUANTIZE", form))["versions"]["optimized_model"] for form in ("int8", "int4")}
    assert len(versions) == 2


def test_a_close_model_is_found_again_and_served(tmp_path):
    made = optimizer(tmp_path)

    record = kept(made, tmp_path, MEASURED)

    assert (record.form, record.note) == ("int8", "")
    assert made.find(record.digest) == record
    assert made.report(record) == MEASURED
    assert describe_optimized(record, MEASURED)["served"] == "int8"


def test_one_that_is_not_close_is_not_kept_and_its_reason_is(tmp_path):
    made = optimizer(tmp_path)

    record = kept(made, tmp_path, FAR)

    assert record.form == "full"
    assert record.note.startswith("the full model is served, because int8 is not close enough to it: 50.00% agree")
    assert made.find(record.digest) == record
    assert not list(tmp_path.rglob(f"{GRAPH}*"))


def test_weights_that_are_gone_are_made_again(tmp_path):
    made = optimizer(tmp_path)
    record = kept(made, tmp_path, MEASURED)

    next(tmp_path.rglob(GRAPH)).unlink()

    assert made.find(record.digest) is None


def test_a_rollback_finds_what_was_measured_of_the_former_champion(tmp_path, monkeypatch):
    ran: list[str] = []

    def program(context: Any, arguments: list[str]) -> None:
        ran.append(arguments[3])
        (work,) = [Path(each.removeprefix("--output_dir=")) for each in arguments if each.startswith("--output_dir=")]
        (work / GRAPH).write_bytes(b"graph")
        (work / REPORT).write_text(json.dumps({**MEASURED, "model": arguments[3]}))

    monkeypatch.setattr("phi_assets.backends.local.serving.optimizer.run_program", program)
    made, said = optimizer(tmp_path), list[str]()
    context: Any = SimpleNamespace(run=SimpleNamespace(run_id="r"), log=SimpleNamespace(info=said.append))
    dataset: Any = SimpleNamespace(digest="d", address="/d")
    other = dataclasses.replace(MODEL, address="/other", model_digest="other")

    first = made.optimize(context, MODEL, dataset)
    made.optimize(context, other, dataset)
    assert made.optimize(context, MODEL, dataset) == first
    assert ran == ["/m", "/other"]
    assert said == ["reusing what was measured of this model before: int8"]
    assert not list(tmp_path.rglob("under-way-*"))
    next(Path(first.address).glob(GRAPH)).unlink()
    made.optimize(context, MODEL, dataset)
    assert ran == ["/m", "/other", "/m"]


def test_a_program_that_fails_leaves_no_file(tmp_path, monkeypatch):
    def program(context: Any, arguments: list[str]) -> None:
        raise dg.Failure("no")

    monkeypatch.setattr("phi_assets.backends.local.serving.optimizer.run_program", program)
    context: Any = SimpleNamespace(run=SimpleNamespace(run_id="r"))
    dataset: Any = SimpleNamespace(digest="d", address="/d")
    with pytest.raises(dg.Failure):
        optimizer(tmp_path).optimize(context, MODEL, dataset)
    assert not list(tmp_path.rglob("under-way-*"))


@pytest.mark.parametrize(("report", "passed"), [(MEASURED, True), (FAR, False)])
def test_its_check_warns_and_blocks_nothing(tmp_path, report, passed):
    made = optimizer(tmp_path)
    record = kept(made, tmp_path, report)

    result = close_to_full_model(optimized_model=record, model_optimizer=made)

    assert isinstance(result, dg.AssetCheckResult)
    assert (result.passed, result.severity) == (passed, dg.AssetCheckSeverity.WARN)


def test_a_deployment_refuses_the_decision_on_another_model():
    other = OptimizedModel(digest="o", address="/o", model_digest="other", form="int8")
    own = OptimizedModel(digest="o", address="/o", model_digest="m", form="int8")

    def catalog(record) -> Any:
        return SimpleNamespace(record=lambda name: record)

    for found in (None, other):
        with pytest.raises(dg.Failure, match=r"optimized_model is not of phi-chat 2; materialise optimized_model"):
            optimized_form(MODEL, catalog(found))
    assert optimized_form(MODEL, catalog(own)) == own
