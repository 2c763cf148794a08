"""Jobs on the local Azure: run once, watched through errors, cancelled with the run, and adopted by the next run."""

import base64
import itertools
import json
import re
import signal
import subprocess
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.infrastructure import prices, training_environment
from phi_assets.backends.azure.jobs.logs import CONTAINER, log_path
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from tests.support.azure_jobs import MARKS, Outcome, Work, another_recipe, names_of_jobs, published, until
from tests.support.azure_place import Place

pytestmark = MARKS
RECIPES = itertools.count(1)


@pytest.fixture(scope="module")
def whole(control: Control, tmp_path_factory) -> Work:
    return published(Place(control, tmp_path_factory.mktemp("home")))


@pytest.fixture
def work(whole: Work, control: Control) -> Work:
    """The same place, and a recipe that no other test trains."""
    control.clear_faults()
    return another_recipe(whole, next(RECIPES))


@pytest.fixture(scope="module")
def trained(whole: Work, control: Control) -> tuple[Work, Outcome]:
    """One recipe, and how its training ended; the answers to its job's submission were lost."""
    mine = another_recipe(whole, next(RECIPES))
    control.fail_next("PUT ml /jobs/", "dropped", times=2)
    outcome = mine.train()
    control.clear_faults()
    assert outcome.success, outcome.failure
    return mine, outcome


def running(work: Work) -> str:
    """The name of the recipe's first job, which has begun."""
    return until(lambda: work.executed() and work.job_name())


def log_of(work: Work, name: str) -> str:
    blobs = WorkspaceBlobs(work.place.clients, work.place.log, 0.5)
    return blobs.peek(log_path(name), container=CONTAINER).decode()


def ending(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """What the step's process said of its end."""
    output, _ = process.communicate(timeout=120)
    return json.loads(output.splitlines()[-1])


def kept_checkpoints(work: Work, name: str) -> list[str]:
    uri = next(
        job["properties"]["outputs"]["result"]["uri"]
        for job in work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
        if job["name"] == name
    )
    blobs = WorkspaceBlobs(work.place.clients, work.place.log, 0.5)
    found = blobs.names(uri.rpartition("/paths/")[2].rstrip("/") + "/checkpoints/")
    return [path for path in found if path.endswith("/complete.json")]


@pytest.mark.guide("training-job")
def test_a_job_whose_submission_was_not_answered_is_run_once(trained: tuple[Work, Outcome]):
    work, _ = trained
    assert len(work.executed()) == 1


def test_a_completed_job_is_adopted_without_a_write(trained: tuple[Work, Outcome]):
    work, first = trained
    work.control.forget_requests()
    second = work.train()
    assert second.success, second.failure
    assert second.made.digest == first.made.digest
    assert work.executed() == [work.job_name()]
    assert not work.place.writes("ml")
    assert not work.place.writes("arm")


@pytest.mark.guide("job-stream")
def test_its_lines_are_said_once_and_its_messages_are_gone_at_the_end(trained: tuple[Work, Outcome]):
    work, outcome = trained
    assert outcome.lines.count("loading torch and transformers") == 1
    assert any(line.startswith("epoch 1.00: validation loss") for line in outcome.lines)
    assert outcome.metadata["studio"].value.startswith("https://ml.azure.com/runs/")
    assert WorkspaceBlobs(work.place.clients, work.place.log, 0.5).names("phi/pipes/") == []


@pytest.mark.guide("training-job")
def test_a_run_that_was_killed_leaves_its_job_to_the_next(work: Work, tmp_path: Path):
    go = tmp_path / "go"
    work.command = f"echo begun; until [ -e {go} ]; do sleep 0.1; done"
    with work.step_process() as process:
        name = running(work)
        process.kill()
        process.wait()
    work.control.forget_requests()

    def let_it_end() -> None:
        try:
            until(lambda: work.control.requests(service="blob", match=log_path(name)))
        finally:
            go.touch()

    with ThreadPoolExecutor() as pool:
        ended = pool.submit(let_it_end)
        outcome = work.run_command()
        ended.result()
    assert outcome.success, outcome.failure
    assert work.executed() == [name] == [work.job_name()]
    assert any("adopting job" in line for line in outcome.lines)
    assert outcome.lines.count("begun") == 1


def test_a_cancelled_run_cancels_its_job_and_leaves_no_materialisation(work: Work):
    with work.step_process() as process:
        name = running(work)
        process.send_signal(signal.SIGINT)
        until(lambda: "Canceled" in work.control.job_history(name), seconds=10)
        found = ending(process)
    assert not found["success"]
    assert not found["materialised"]


@pytest.mark.long
def test_a_job_whose_node_is_lost_and_that_then_fails_goes_on_from_its_checkpoint_each_time(work: Work):
    work.epochs = 30  # some six seconds

    def break_it() -> str:
        name = running(work)
        until(lambda: kept_checkpoints(work, name))
        work.control.lose_node(name)
        until(lambda: work.control.job_history(name).count("Running") == 2)
        until(lambda: "resuming from step" in log_of(work, name))
        work.control.fail_job(name)
        return name

    with ThreadPoolExecutor() as pool:
        broken = pool.submit(break_it)
        failed = work.train()
        name = broken.result()
    assert not failed.materialised
    assert f"job {name} ended as Failed" in failed.failure
    assert "resuming from step" in failed.failure, "its last lines"
    outcome = work.train()
    assert outcome.success, outcome.failure
    assert work.executed() == [name, work.job_name(2)]
    assert work.resumed_from(outcome.made)


def test_what_training_refuses_is_said_in_its_own_words(work: Work):
    work.limits["max_job_cost"] = 0.1  # over a minute, in which a slow machine has begun
    work.epochs = 200_000
    outcome = work.train()
    assert not outcome.success
    assert "minutes" in outcome.failure
    assert "max_train_minutes" in outcome.failure
    assert not outcome.materialised


def test_no_machine_in_time_cancels_the_job_and_names_the_remedy(work: Work, control: Control):
    until(lambda: not busy(control) and not nodes(control))
    control.capacity(False)
    work.limits["queue_minutes"] = 0.03
    outcome = work.train()
    assert "PHI_AZURE_QUEUE_MINUTES" in outcome.failure
    assert "PHI_AZURE_VM_SIZE" in outcome.failure
    assert work.executed() == []
    assert work.control.job_history(work.job_name())[-1] == "Canceled"


def test_a_job_ends_at_the_time_that_its_price_buys_and_says_which_setting_sets_it(work: Work, monkeypatch):
    monkeypatch.setattr(prices, "ceiling_seconds", lambda cost, price: 2)
    outcome = work.run_command()
    assert not outcome.success
    assert "PHI_AZURE_MAX_JOB_COST" in outcome.failure
    assert work.control.job_history(work.job_name())[-1] in ("Canceled", "Failed")


def test_a_job_whose_run_is_dead_ends_at_its_own_time(work: Work):
    with work.step_process(seconds=6) as process:
        name = running(work)
        process.kill()
        process.wait()
        work.control.forget_requests()
        until(lambda: work.control.job_history(name)[-1] in ("Canceled", "Failed"))
    assert work.control.requests(service="ml") == []


@pytest.mark.guide("training-environment")
def test_an_image_that_cannot_be_built_is_said_with_the_remedy(work: Work, monkeypatch):
    monkeypatch.setattr(training_environment, "version", lambda: "changed")
    training_environment.ensure(work.place.clients, 0.5, work.place.log)
    work.control.image_builds_fail()
    outcome = work.train()
    assert not outcome.success
    assert "ImageBuildFailure" in outcome.failure
    assert "training_code/environment" in outcome.failure
    assert work.executed() == []


def busy(control: Control) -> bool:
    jobs = control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
    return any(job["properties"]["status"] not in ("Completed", "Failed", "Canceled") for job in jobs)


def nodes(control: Control) -> int:
    """Nodes that the clusters have: one of an earlier job would take the next at once."""
    clusters = control.resources("Microsoft.MachineLearningServices/workspaces/computes")
    return sum(cluster["properties"]["properties"].get("currentNodeCount") or 0 for cluster in clusters)


@pytest.mark.long  # an infrastructure made under the same storm is not
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_a_third_of_the_calls_failing_one_job_is_run_and_the_run_ends_well(work: Work, seed: int):
    work.control.hold_seconds(0.2)
    work.control.fail_randomly(0.3, seed=seed)
    outcome = work.train()
    work.control.clear_faults()
    assert outcome.success, outcome.failure
    assert len(work.executed()) == 1
    assert len([job for job in names_of_jobs(work) if job.startswith(work.job_name().rpartition("-")[0])]) == 1


def test_no_job_bears_a_secret(trained: tuple[Work, Outcome]):
    work, _ = trained
    jobs = work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs")
    given = [json.dumps(jobs), *(unpacked(value) for value in pipes_variables(jobs))]
    assert len(given) > 1
    assert not SECRET.findall("\n".join(given))


SECRET = re.compile(r"sig=|AccountKey|SharedAccessSignature|eyJ[\w-]+\.eyJ[\w-]+")  # the last is a token


def pipes_variables(jobs: list[Any]) -> list[str]:
    """What Dagster Pipes tells the jobs, as it was packed."""
    variables = [job["properties"].get("environmentVariables") or {} for job in jobs]
    return [value for given in variables for name, value in given.items() if name.startswith("DAGSTER_PIPES_")]


def unpacked(packed: str) -> str:
    return zlib.decompress(base64.b64decode(packed)).decode()


def test_nothing_of_this_machine_s_paths_is_uploaded(trained: tuple[Work, Outcome]):
    work, _ = trained
    specs = json.dumps(work.control.resources("Microsoft.MachineLearningServices/workspaces/jobs"))
    assert str(Path(work.state)) not in specs
