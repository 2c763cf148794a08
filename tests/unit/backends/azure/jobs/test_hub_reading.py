"""A hub dataset read by a job of the local Azure: once per commit, with the same rows as when read locally."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client.clients import clients
from phi_assets.backends.azure.dataset.store import AzureDatasetStore
from phi_assets.backends.azure.jobs.cloud_jobs import CloudJobs, JobLimits
from phi_assets.backends.azure.jobs.hub_reading import HubReading
from phi_assets.backends.azure.jobs.job_errors import JobFailed
from phi_assets.backends.azure.storage import blob
from phi_assets.conversations.rows import SourceError
from phi_assets.conversations.sources.address import HubSource
from phi_assets.conversations.sources.feeds import Piece, Scan
from phi_assets.errors import BackendError
from phi_assets.project import PROJECT
from phi_assets.records import DatasetVersion
from tests.support.azure_jobs import CLEANING, MARKS, Work, prepared, until
from tests.support.azure_place import Place
from tests.support.loopback_hub import LoopbackHub, run_hub
from tests.unit.training_code.conftest import conversations

pytestmark = MARKS
FIRST, SECOND = "1" * 40, "2" * 40
LIMITS = {"vm_size": "Standard_NC24ads_A100_v4", "max_job_cost": 20.0, "queue_minutes": 5.0, "poll_seconds": 0.3}
JOBS = "Microsoft.MachineLearningServices/workspaces/jobs"

# In a process of its own, because `datasets` reads HF_ENDPOINT once, when it is imported.
HERE = """
import json, sys
from phi_assets.backends.local.dataset.store import LocalDatasetStore
made = LocalDatasetStore(**json.loads(sys.argv[1])).publish(lambda line: print(line, file=sys.stderr))
print(json.dumps({"digest": made.digest, "address": made.address}))
"""


@pytest.fixture(scope="module")
def work(control: Control, tmp_path_factory: pytest.TempPathFactory) -> Work:
    return prepared(Place(control, tmp_path_factory.mktemp("home")))


@pytest.fixture
def hub(tmp_path: Path, name: str, work: Work, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub with one dataset: 60 good rows, and one of each kind that is treated apart."""
    import huggingface_hub.constants

    work.control.clear_faults()
    messages = [*conversations(60, seed=1), [], [{"role": "user", "content": "Only a question?"}]]
    rows = [{"messages": row, "note": "short", "score": None} for row in messages]
    rows[3]["note"] = "long " * 1_000_000  # longer than a line of a file may be
    with run_hub(LoopbackHub({name: {FIRST: _folder(tmp_path / "hub" / FIRST, rows)}})) as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield running


def _folder(folder: Path, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def name(tmp_path: Path) -> str:
    """The dataset's, which no other test reads: each has a job of its own."""
    return f"someone/{tmp_path.name}"


def store(work: Work, home: Path, name: str, split: str = "train") -> AzureDatasetStore:
    return AzureDatasetStore(
        account=work.place.clients.account.fields,
        state=str(home),
        source=f"hf:{name}:{split}",
        cleaning=CLEANING,
        role_minutes=0.5,
        reading=LIMITS,
    )


def jobs(work: Work, name: str) -> list[dict[str, Any]]:
    found = work.control.resources(JOBS)
    return [job for job in found if job["properties"]["tags"].get("hub_dataset") == name]


def blobs(work: Work) -> blob.WorkspaceBlobs:
    return blob.WorkspaceBlobs(work.place.clients, work.place.log, 0.5)


def files(version: DatasetVersion, home: Path) -> dict[str, Any]:
    """What a version says of its rows, wherever they were read."""
    folder = home / "datasets" / version.digest
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return {
        **{name: manifest[name] for name in ("sources", "rows_read", "rows", "reasons", "source_fingerprint")},
        "quarantine": (folder / "quarantine.jsonl").read_bytes(),
    }


def test_rows_that_a_job_read_make_the_dataset_that_this_machine_makes_of_them(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    given = {"state": str(tmp_path / "here"), "source": f"hf:{name}:train", "cleaning": CLEANING}
    environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "hf")}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", HERE, json.dumps(given)], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    here = json.loads(done.stdout.splitlines()[-1])
    hub.fetched.clear()

    version = store(work, tmp_path / "azure", name).publish(work.place.log)

    assert version.digest == here["digest"]
    told = files(version, tmp_path / "azure")
    assert told == files(version, tmp_path / "here")
    assert told["sources"][0]["name"] == f"hf:{name}:train"
    assert b'"line":61,' in told["quarantine"]
    assert sum(version.rows.values()) == 60
    (job,) = jobs(work, name)
    assert job["properties"]["tags"]["commit"] == FIRST
    limits = JobLimits(role_minutes=0.5, **LIMITS)
    seconds = CloudJobs(clients(work.place.clients.account.fields), limits, work.place.log).seconds
    assert job["properties"]["limits"]["timeout"] == f"PT{seconds // 3600}H{seconds % 3600 // 60}M{seconds % 60}S"
    assert hub.fetched == ["train.jsonl"]


def test_a_commit_that_was_read_is_not_read_again_and_a_new_one_is(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    its = store(work, tmp_path, name)
    first = its.publish(work.place.log)
    kept = tmp_path / "intake" / "hub"
    (before,) = kept.iterdir()
    hub.fetched.clear()
    work.control.forget_requests()

    assert its.publish(work.place.log).digest == first.digest
    shutil.rmtree(kept)
    assert its.publish(work.place.log).digest == first.digest
    (found,) = kept.iterdir()
    assert found == before
    assert not work.place.writes("ml")
    assert not hub.fetched
    assert len(jobs(work, name)) == 1

    rows = [{"messages": row} for row in conversations(70, seed=2)]
    hub.repositories[name][SECOND] = _folder(tmp_path / "hub" / SECOND, rows)
    assert its.publish(work.place.log).digest != first.digest
    assert {job["properties"]["tags"]["commit"] for job in jobs(work, name)} == {FIRST, SECOND}
    (after,) = kept.iterdir()
    assert after != before
    assert blobs(work).names(f"phi/hub/{FIRST}/")


def test_who_looks_asks_the_hub_for_the_commit_and_azure_for_nothing(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    named = store(work, tmp_path, name).feeds(patient=False)[0]
    work.control.forget_requests()

    before = named.scan()
    hub.repositories[name][SECOND] = hub.repositories[name][FIRST]

    assert named.scan().pieces[0].sha256 != before.pieces[0].sha256
    assert not hub.fetched
    assert not work.control.requests()


def test_two_machines_that_want_the_same_commit_share_one_job(work: Work, hub: LoopbackHub, name: str, tmp_path: Path):
    hub.open.clear()
    made: list[DatasetVersion] = []
    one = Thread(target=lambda: made.append(store(work, tmp_path / "one", name).publish(work.place.log)))
    one.start()
    try:
        until(lambda: jobs(work, name))
        said: list[str] = []

        def log(words: str) -> None:
            said.append(words)
            if "waiting for the lease on read jobs" in words:
                hub.open.set()

        version = store(work, tmp_path / "two", name).publish(log)
    finally:
        hub.open.set()
        one.join()

    assert made == [version]
    assert any("waiting for the lease on read jobs" in line for line in said)
    (job,) = jobs(work, name)
    assert work.control.executed_jobs().count(job["name"]) == 1


def test_a_split_or_a_dataset_that_is_not_there_is_told_in_one_sentence_with_what_to_do(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    with pytest.raises(JobFailed) as wrong:
        store(work, tmp_path, name, "tran").publish(work.place.log)
    first = str(wrong.value.description).splitlines()[0]
    assert "phi-read-" in first
    assert "Unknown split \"tran\". Should be one of ['train']; name a split that it has in PHI_DATASET" in first
    hub.gated = True
    with pytest.raises(JobFailed, match=r"has no token of yours; .*set PHI_AZURE_READ_DATASETS=here"):
        store(work, tmp_path, name, "train[:17]").publish(work.place.log)
    with pytest.raises(SourceError, match=r"the hub has no hf:no/such:train; check the name"):
        store(work, tmp_path, "no/such").publish(work.place.log)


@pytest.mark.long
def test_a_hub_that_the_cluster_cannot_reach_is_told_and_the_next_attempt_reads_it(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import huggingface_hub.constants

    scan = Scan("the dataset", (Piece("the dataset", HubSource(name, "train", FIRST), "0" * 64),))
    limits = JobLimits(role_minutes=0.5, **LIMITS)
    reading = HubReading(work.place.clients, limits, tmp_path / "hub-rows", work.place.log)
    with monkeypatch.context() as patched:
        patched.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:1")
        with pytest.raises(JobFailed, match=r"the job can't reach the Hugging Face hub .*PHI_AZURE_READ_DATASETS=here"):
            reading.bring([scan])
        patched.setattr(huggingface_hub.constants, "ENDPOINT", "https://me:secret@example.org")
        with pytest.raises(SourceError, match="HF_ENDPOINT contains a password"):
            reading.bring([scan])

    (brought,) = reading.bring([scan])

    assert sorted(job["name"][-2:] for job in jobs(work, name)) == ["-1", "-2"]
    assert len(brought.pieces[0].origin.path.read_bytes().splitlines()) == 62  # pyright: ignore
    assert reading.bring([scan]) == [brought]


def test_rows_on_blob_that_are_not_what_the_job_wrote_are_refused_and_read_anew(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    its = store(work, tmp_path, name)
    version = its.publish(work.place.log)
    made_of = jobs(work, name)[0]["name"].split("-")[2]
    rows = f"phi/hub/{FIRST}/{made_of}/rows.jsonl"
    blobs(work).write(rows, blobs(work).read(rows).replace(b"user", b"User"))
    shutil.rmtree(tmp_path / "intake")

    with pytest.raises(BackendError, match="differs from the digest that the job recorded, and was removed; run again"):
        its.publish(work.place.log)

    assert its.publish(work.place.log).digest == version.digest
    assert len(jobs(work, name)) == 2


@pytest.mark.long
def test_with_the_setting_the_graph_makes_the_cluster_first_and_the_quota_s_verdict_is_a_gate(
    work: Work, hub: LoopbackHub, name: str, tmp_path: Path
):
    environment = {
        **os.environ,
        "PHI_BACKEND": "azure",
        "PHI_AZURE_SUBSCRIPTION_ID": str(work.place.settings.azure_subscription_id),
        "PHI_AZURE_LOCATION": str(work.place.settings.azure_location),
        "PHI_AZURE_NAME": work.place.name,
        "PHI_AZURE_READ_DATASETS": "azure",
        "PHI_DATASET": f"hf:{name}:train",
        "PHI_HOME": str(tmp_path / "home"),
        "PHI_BASE_MODEL": str(work.state / "tiny"),
        "HF_ENDPOINT": hub.address,
    }
    environment.pop("HF_HUB_OFFLINE", None)

    def run(*assets: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "tests.support.read_dataset", *assets]
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    alone = run("chat_dataset")
    assert alone["made"] == []
    assert "gpu_quota: check enough_quota has not judged" in alone["failures"]["chat_dataset"]
    assert not jobs(work, name)

    whole = run()
    assert whole["failures"] == {}
    assert {"gpu_quota", "training_compute", "training_environment", "chat_dataset"} <= set(whole["made"])
    assert len(jobs(work, name)) == 1
