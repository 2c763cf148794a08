"""From a dataset to a champion on the local Azure: what is created, where it is stored, and what is downloaded."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.storage import blob
from phi_assets.backends.azure.training.trainer import program_digest
from phi_assets.models.experiments import Scores
from phi_assets.records import ModelVersion
from tests.support.azure_jobs import MARKS, Outcome, Work, prepared
from tests.support.azure_place import Place

pytestmark = [*MARKS, pytest.mark.long]


@pytest.fixture(scope="module")
def work(control: Control, tmp_path_factory) -> Work:
    return prepared(Place(control, tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def trained(work: Work) -> ModelVersion:
    return training_of(work).made


@pytest.fixture(scope="module")
def challenger(work: Work) -> tuple[Work, ModelVersion]:
    """Another recipe on the same inputs, and its model."""
    other = replace(work, recipe=1)
    other.__dict__.update(dataset=work.dataset, base=work.base)
    return other, training_of(other).made


@pytest.fixture(scope="module")
def evaluated(work: Work, trained: ModelVersion) -> Outcome:
    outcome = work.evaluate(trained)
    assert outcome.success, outcome.failure
    return outcome


# Fixtures of a module have no marks: what they warn of is let through here.
def training_of(work: Work) -> Outcome:
    outcome = work.train()
    assert outcome.success, outcome.failure
    return outcome


def blobs(work: Work) -> blob.WorkspaceBlobs:
    return blob.WorkspaceBlobs(work.place.clients, work.place.log, 0.5)


@pytest.mark.guide("fine-tune")
def test_weights_stay_on_blob_and_the_report_comes_to_this_machine(work: Work, trained: ModelVersion):
    folder = work.trainer.folder(trained)
    assert {"report.json", "loss_curve.png", "mask.png", "record.json"} <= {path.name for path in folder.iterdir()}
    assert not list((work.state / "models").rglob("*.safetensors"))
    assert blobs(work).size(blob.path_of(trained.address) + "/model.safetensors")
    assert trained.adapter_address
    assert blobs(work).names(blob.path_of(trained.adapter_address) + "/")


def test_the_digest_is_that_of_the_weights_and_of_the_code_that_trained_them(work: Work, trained: ModelVersion):
    weights = blobs(work).read(blob.path_of(trained.address) + "/model.safetensors")
    code = program_digest()
    assert trained.digest == hashlib.sha256(f"{hashlib.sha256(weights).hexdigest()}\n{code}".encode()).hexdigest()
    assert work.trainer.find(trained.digest) == trained


def test_the_checkpoints_are_gone_once_it_is_done(work: Work, trained: ModelVersion):
    root = blob.path_of(trained.address).removesuffix("model")
    assert not [name for name in blobs(work).names(root) if "/checkpoints/" in name]


def test_the_job_bears_the_tags_and_the_identity(work: Work, trained: ModelVersion):
    job = work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")[0]["properties"]
    assert job["tags"]["dataset"] == work.dataset.digest
    assert job["tags"]["base_model"] == work.base.digest
    assert job["identity"]["identityType"] == "Managed"
    assert job["limits"]["timeout"].startswith("PT")
    assert set(job["environmentVariables"]) <= {"DAGSTER_PIPES_CONTEXT", "DAGSTER_PIPES_MESSAGES"}


@pytest.mark.guide("register-model")
def test_an_evaluation_s_report_comes_to_this_machine(work: Work, evaluated: Outcome):
    evaluation = evaluated.made
    folder = work.evaluator.folder(evaluation)
    assert {"evaluation.json", "evaluation.png", "rows.jsonl"} <= {p.name for p in folder.iterdir()}
    assert evaluation.digest == hashlib.sha256((folder / "evaluation.json").read_bytes()).hexdigest()
    assert work.evaluator.find(evaluation.digest) == evaluation
    assert work.evaluator.report(evaluation)["models"]["champion"] is None
    assert any("bits per byte" in line for line in evaluated.lines)


def test_the_scores_are_tags_of_the_training_s_job(work: Work, trained: ModelVersion, evaluated: Outcome):
    work.registry.log_training(trained, work.trainer.folder(trained), {})
    scores = Scores(bits_per_byte=1.25, right=None, general_kept=0.5, failed=("enough_evidence",))
    # As often as makes the client itself give up.
    work.control.fail_next("PATCH /runs/", "503", times=6)

    name = work.registry.log_evaluation(trained, evaluated.made, scores)

    jobs = work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
    (job,) = [each for each in jobs if each["name"] == name]
    tags = job["properties"]["tags"]
    assert (tags["bits_per_byte"], tags["general_kept"], tags["gate"]) == ("1.2500", "0.5000", "fails enough_evidence")
    assert tags["dataset"] == work.dataset.digest


def test_the_same_contest_is_not_held_twice(work: Work, trained: ModelVersion, evaluated: Outcome):
    work.control.forget_requests()
    assert work.evaluate(trained).made.digest == evaluated.made.digest
    assert not work.place.writes("ml")


@pytest.mark.long
def test_a_challenger_is_measured_against_the_champion(
    work: Work, trained: ModelVersion, evaluated: Outcome, challenger: tuple[Work, ModelVersion]
):
    champion = work.registry.register(trained, evaluated.made, {})
    assert json.loads((work.trainer.folder(trained) / "job.json").read_text())["name"]
    assert work.registry.log_training(trained, work.trainer.folder(trained), {}).startswith("https://ml.azure.com/")
    outcome = work.evaluate(challenger[1])
    assert outcome.success, outcome.failure
    assert outcome.made.champion == f"{champion.name}/{champion.version}"
    report = work.evaluator.report(outcome.made)
    assert report["models"]["champion"]["bits_per_byte"]
    assert report["comparisons"]["champion"]["groups"]


@pytest.mark.long
def test_a_report_that_this_machine_lost_comes_back_without_a_job(challenger: tuple[Work, ModelVersion]):
    work, first = challenger
    before = work.executed()
    shutil.rmtree(work.trainer.folder(first))
    assert work.trainer.find(first.digest) == first  # by its record on Blob
    assert training_of(work).made.digest == first.digest
    assert (work.trainer.folder(first) / "report.json").is_file()
    assert work.executed() == before


@pytest.mark.long
def test_a_model_whose_weights_are_gone_is_trained_anew(challenger: tuple[Work, ModelVersion]):
    work, first = challenger
    before = len(work.executed())
    blobs(work).remove(blob.path_of(first.address) + "/")
    assert work.trainer.find(first.digest) is None
    assert training_of(work).made.digest == first.digest
    assert len(work.executed()) == before + 1


@pytest.mark.long
def test_the_pairs_of_the_dataset_reach_the_job_and_its_report_comes_back(work: Work):
    pairs = [
        {
            "prompt": f"Where is the {n} {n * 7} {n * 13} lamp?",
            "chosen": f"{n} HERE",
            "rejected": f"{n}, I do not know.",
        }
        for n in range(30)
    ]
    rows = (work.state / "raw.jsonl").read_text(encoding="utf-8")
    (work.state / "pairs.jsonl").write_text(rows + "".join(json.dumps(pair) + "\n" for pair in pairs))
    with_pairs = replace(work, recipe=7, source="pairs.jsonl", preference="dpo")
    with_pairs.__dict__["base"] = work.base
    assert with_pairs.dataset.pairs == 30
    assert with_pairs.dataset_store.find(with_pairs.dataset.digest) == with_pairs.dataset

    made = training_of(with_pairs).made

    folder = with_pairs.trainer.folder(made)
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))["preference"]
    assert (found["pairs"]["train"], found["pairs"]["held_out"]) == (18, 12)
    assert found["steps"] == 5
    assert found["preferred_after"] is not None
    assert (folder / "preference_curve.png").is_file()
