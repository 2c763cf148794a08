"""Dagster's pool `training` runs one training at a time: twenty concurrent runs, dequeued by a real daemon."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import dagster as dg
import pytest
from dagster_graphql import DagsterGraphQLClient

from phi_assets import settings
from phi_assets.backends.local.operations.file_heartbeats import FileHeartbeats
from phi_assets.defs.operations.sensors import dead_run_monitor
from phi_assets.instance import home, server
from phi_assets.instance.server import Interface
from phi_assets.project import PROJECT
from tests.support.homes import OWN, tiny_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
]

MADE = [
    *("ml_workspace", "training_compute", "training_environment"),
    *("chat_dataset", "base_model", "replay_conversations"),
]
IN_POOL = {"fine_tuned_model", "train_candidate"}
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@dataclass
class Running:
    """A client of a home's running Dagster, and its instance."""

    client: DagsterGraphQLClient
    instance: dg.DagsterInstance

    def start(self, job: str, **how: Any) -> str:
        return self.client.submit_job_execution(job, **how)

    def wait(self, ids: list[str], seconds: float) -> list[dg.DagsterRun]:
        """Wait until the runs have ended; return them."""
        deadline = time.monotonic() + seconds
        while True:
            runs = self.instance.get_runs(filters=dg.RunsFilter(run_ids=ids))
            if all(run.status in ENDED for run in runs):
                return list(runs)
            assert time.monotonic() < deadline, {run.run_id: run.status for run in runs}
            time.sleep(1)

    def steps(self, ids: list[str]) -> list[tuple[float, float]]:
        """Return start and end of every step in the pool, sorted by start."""
        spans = []
        for run_id in ids:
            at = {e.dagster_event_type: e.timestamp for e in self.instance.all_logs(run_id) if e.step_key in IN_POOL}
            spans.append((at[dg.DagsterEventType.STEP_START], at[dg.DagsterEventType.STEP_SUCCESS]))
        return sorted(spans)

    def most_at_once(self, ids: list[str]) -> int:
        """Return how many of the runs were running at the same time at most."""
        records = [self.instance.get_run_record_by_id(run_id) for run_id in ids]
        moments = [(record.start_time, 1) for record in records if record and record.start_time]
        moments += [(record.end_time, -1) for record in records if record and record.end_time]
        return max(accumulate(change for _, change in sorted(moments)))


@contextmanager
def dev(log: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run `phi dev` for the home of the environment during the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "phi_assets.cli.main", "dev"], cwd=PROJECT, stdout=log, stderr=log
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(180)


def until(look: Callable[[], Interface | None], process: subprocess.Popen[bytes]) -> Interface:
    """Poll `look` while the process runs; return its first result."""
    while (found := look()) is None:
        assert process.poll() is None
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("home")
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "conversations.jsonl").write_text("".join(own[:100]), encoding="utf-8")
    its = tiny_home(folder, folder / "conversations.jsonl", 4600)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**its.settings, "PHI_AUTOMATION": "off"}.items():
            patched.setenv(name, value)
        chosen = settings.read(settings.variables())
        with home.instance(chosen) as instance:
            patched.setenv("DAGSTER_HOME", str(chosen.dagster_home))
            with (folder / "dev.log").open("wb") as log, dev(log) as process:
                ui = until(lambda: server.find(chosen), process)
                server.wait_until_ready(ui, folder / "dev.log")
                found = Running(DagsterGraphQLClient("127.0.0.1", port_number=ui.port), instance)
                (made,) = found.wait([found.start("everything", asset_selection=MADE)], 120)
                assert made.status == dg.DagsterRunStatus.SUCCESS
                yield found


def by_hand() -> subprocess.Popen[bytes]:
    """Start a run in a subprocess, as `dg launch` does: it bypasses the daemon's queue."""
    command = [sys.executable, "-m", "dagster", "asset", "materialize"]
    options = ["--select", "fine_tuned_model", "-m", "phi_assets.definitions"]
    return subprocess.Popen([*command, *options], cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.long
def test_of_twenty_runs_at_once_never_two_train(running: Running):
    def tried(seed: int) -> str:
        config = {"ops": {"train_candidate": {"config": {"seed": seed}}}}
        return running.start("candidate", run_config=config, op_selection=["train_candidate"])

    before = {run.run_id for run in running.instance.get_runs()}
    # Some train, the others reuse their models: each occupies the pool.
    queued = [tried(seed) for seed in (1, 2, 3) for _ in range(4)]
    queued += [running.start("retrain", asset_selection=["fine_tuned_model"]) for _ in range(6)]
    others = [by_hand() for _ in range(2)]

    assert [process.wait(900) for process in others] == [0] * 2
    running.wait(queued, 900)

    runs = [run for run in running.instance.get_runs() if run.run_id not in before]
    assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 20
    spans = running.steps([run.run_id for run in runs])
    assert [(one, two) for one, two in pairwise(spans) if two[0] < one[1]] == []
    # More than one process waited for the pool at times, and some occupied it long enough to train.
    assert running.most_at_once([run.run_id for run in runs]) > 1
    assert len([end - start for start, end in spans if end - start > 1]) >= 4  # three seeds, and the graph's own


def test_whatever_trains_is_in_the_pool():
    from phi_assets.definitions import definitions

    found = definitions()
    asset = found.resolve_assets_def("fine_tuned_model").op
    jobs = [found.resolve_job_def(name) for name in ("everything", "retrain", "candidate")]
    trains = [node.definition for job in jobs for node in job.nodes if node.name in IN_POOL]

    assert asset.pool == "training"
    assert {node.name for node in trains} == IN_POOL
    assert {node.pool for node in trains} == {"training"}  # type: ignore[union-attr]


def test_the_pool_is_set_by_the_daemon_where_no_command_has_set_it(tmp_path):
    with dg.instance_for_test() as instance:
        storage = instance.event_log_storage
        assert storage.get_concurrency_info("training").slot_count == 0

        heartbeats = {"heartbeats": FileHeartbeats(state=str(tmp_path))}
        with dg.build_sensor_context(instance=instance, resources=heartbeats) as context:
            dead_run_monitor(context)

        assert storage.get_concurrency_info("training").slot_count == 1
