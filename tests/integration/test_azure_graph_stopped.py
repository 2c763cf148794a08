"""`phi run` on the local Azure, stopped while its job trains: in Dagster's UI, and by SIGKILL of all its processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import dagster as dg
import psutil
import pytest
from dagster_graphql import DagsterGraphQLClient

from azure_emulator.process import LocalAzure
from phi_assets.project import PROJECT
from tests.integration.test_whole_azure_graph import azure_home
from tests.support.azure_jobs import until
from tests.support.homes import Home

pytestmark = [
    pytest.mark.long,
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.timeout(900),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]
JOBS = "Microsoft.MachineLearningServices/workspaces/jobs"
MODEL = dg.AssetKey("fine_tuned_model")


@pytest.fixture(scope="module")
def home(azure: LocalAzure, tmp_path_factory) -> Iterator[Home]:
    its = azure_home(tmp_path_factory.mktemp("home"), 3750)
    preset = its.folder / "tiny.yaml"
    longer = preset.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 30\nearly_stopping_patience: 0")
    preset.write_text(longer, encoding="utf-8")  # the job must run longer than a restart of Dagster takes
    yield its
    its.phi("down")


def training(azure: LocalAzure) -> str | None:
    """Return the name of the training job that is running."""
    jobs = {str(job["name"]): job["properties"]["status"] for job in azure.control.resources(JOBS)}
    return next((name for name, status in jobs.items() if "-train-" in name and status == "Running"), None)


@contextmanager
def running(home: Home) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "phi_assets.cli.main", "run"]
    environment = {**os.environ, **home.settings}
    with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def instance(home: Home) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home.folder / "home" / "azure" / "dagster")) as opened:
        yield opened


def test_a_run_that_is_terminated_in_the_ui_cancels_its_job_and_leaves_no_materialisation(azure, home):
    with running(home) as process:
        name = until(lambda: training(azure), 240)
        with instance(home) as dagster:
            (run,) = dagster.get_runs(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            DagsterGraphQLClient("127.0.0.1", urlsplit(home.ui()).port).terminate_run(run.run_id)
            until(lambda: azure.control.job_history(name)[-1] == "Canceled", 10)
            output, _ = process.communicate(timeout=120)
            ended = dagster.get_run_by_id(run.run_id)
            assert ended
            assert ended.status == dg.DagsterRunStatus.CANCELED, output
            assert dagster.get_latest_materialization_event(MODEL) is None
    assert process.returncode == 1
    assert azure.control.executed_jobs() == [name]


def test_when_all_of_dagster_was_killed_the_next_run_adopts_the_job(azure, home):
    with running(home):
        name = until(lambda: training(azure), 240)
        for process in psutil.process_iter():
            if of_home(process, home):
                process.kill()
    before = azure.control.executed_jobs()

    done = home.phi("run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"adopting job {name}" in done.stdout
    assert [job for job in azure.control.executed_jobs() if "-train-" in job] == before
    assert set(home.status().values()) == {"fresh"}


def of_home(process: psutil.Process, home: Home) -> bool:
    """Return whether the process belongs to this home: `phi`, Dagster's servers, or a run."""
    try:
        return process.environ().get("PHI_HOME") == home.settings["PHI_HOME"]
    except psutil.Error:
        return False
