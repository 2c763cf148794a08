"""The decision of sensor `retraining_policy` and its reason, on a real instance and real dataset folders."""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends.dataset_preparation import cleaning_options
from phi_assets.backends.local.dataset.store import LocalDatasetStore
from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.conversations import drift
from phi_assets.conversations.drift import Drift
from phi_assets.defs.dataset.checks import DESCRIPTIONS
from phi_assets.graph import check_gates
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.graph.run_tags import STOPPED
from phi_assets.instance import home
from phi_assets.instance.retraining_due import DATASET, is_due
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.operations import Bill
from phi_assets.records import DatasetVersion, ModelVersion, Quota
from phi_assets.settings import Settings, read
from tests.support.fake_records import a_model
from tests.support.homes import OWN


class Costs:
    """A cost report that is not asked in vain."""

    def __init__(self, left: float | None) -> None:
        self.left, self.asked = left, 0

    def measure(self, log) -> Bill:
        self.asked += 1
        budget = None if self.left is None else 100.0
        return Bill((), (), 100.0 - (self.left or 0.0), budget, (), "")


class World:
    """A home with a dataset, a model trained on it, and the verdicts between them."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **others: str) -> None:
        self.source = folder / "conversations.jsonl"
        given = {
            "PHI_HOME": str(folder),
            "PHI_DATASET": str(self.source),
            "PHI_PERSONAL_DATA": "keep",
            "PHI_RETRAIN_COOLDOWN_MINUTES": "0",
        }
        self.settings: Settings = read({**given, **others})
        self.instance = instance
        self.records = RecordIOManager(folder=str(self.settings.state / "records"))
        self.catalog = HomeCatalog(state=str(self.settings.state))
        self.resources = {"io_manager": self.records, "dataset_store": self.store(), "catalog": self.catalog}

    def store(self) -> LocalDatasetStore:
        state = str(self.settings.state)
        return LocalDatasetStore(state=state, source=str(self.source), cleaning=cleaning_options(self.settings))

    def publish(self, rows: int, *, passed: bool = True) -> DatasetVersion:
        self.source.write_text("".join(OWN.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]))
        version = self.store().publish(lambda _: None)
        self.keep("chat_dataset", version)
        self.judge(version, passed=passed)
        return version

    def judge(self, version: DatasetVersion, *, passed: bool) -> None:
        outcome = CheckOutcome(passed, "a test")
        self.catalog.judge(
            check_gates.verdict_of("chat_dataset", name, version.digest, outcome) for name in DESCRIPTIONS
        )

    def train(self, version: DatasetVersion, digest: str = "m1") -> ModelVersion:
        model = dataclasses.replace(a_model(digest, ""), dataset_digest=version.digest)
        self.keep("fine_tuned_model", model)
        self.instance.report_runless_asset_event(dg.AssetMaterialization("fine_tuned_model"))
        return model

    def newest(self) -> DatasetVersion:
        found = self.records.latest(dg.AssetKey("chat_dataset"))
        assert isinstance(found, DatasetVersion)
        return found

    def keep(self, asset: str, record) -> None:
        path = Path(self.records.folder, f"{asset}.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.to_json(), encoding="utf-8")

    def run(self, job: str, status: dg.DagsterRunStatus, tags: dict[str, str] | None = None) -> None:
        self.instance.add_run(dg.DagsterRun(job_name=job, status=status, tags=tags or {}))

    def due(self):
        return is_due(self.instance, self.settings, self.resources)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def world(tmp_path, instance) -> World:
    its = World(tmp_path, instance)
    its.train(its.publish(100))
    return its


def says(world: World, words: str) -> bool:
    due = world.due()
    assert words in due.decision.reason, due.decision.reason
    return due.decision.start


def test_before_the_first_model_nothing_is_due(tmp_path, instance):
    assert not says(World(tmp_path, instance), "no model was trained yet")


def test_a_model_of_the_newest_dataset_is_left_alone(world):
    assert not says(world, "the model was trained on the newest dataset")


def test_enough_new_conversations_are_due_once_for_this_dataset_and_model(world):
    version = world.publish(140)
    due = world.due()

    assert due.decision.start
    assert due.tags
    assert due.tags[DATASET] == version.digest
    assert "new conversations since the last training on" in due.tags["phi/reason"]
    assert version.digest[:16] in due.run_key
    assert "m1" in due.run_key


def test_few_new_conversations_wait(world):
    world.publish(103)

    assert not says(world, "20 or 10% more are needed")


def test_a_dataset_that_did_not_pass_is_never_trained_on(world):
    world.publish(140, passed=False)

    assert not says(world, "the newest dataset did not pass: chat_dataset: check schema failed")


def test_a_dataset_that_is_not_judged_yet_waits(world):
    version = world.publish(140)
    world.keep("chat_dataset", dataclasses.replace(version, digest="another"))

    assert not says(world, "not yet judged by schema")


@pytest.mark.parametrize("job", ["everything", "retrain", "rollback"])
def test_a_run_that_makes_assets_is_waited_for(world, job):
    world.publish(140)
    world.run(job, dg.DagsterRunStatus.STARTED)

    assert not says(world, f"({job}) is still going")


def test_a_run_that_makes_no_assets_is_not_in_the_way(world):
    world.publish(140)
    world.run("observe_sources", dg.DagsterRunStatus.STARTED)

    assert says(world, "new conversations")


def test_a_run_that_failed_on_this_dataset_is_not_repeated(world):
    version = world.publish(140)
    world.run("retrain", dg.DagsterRunStatus.FAILURE, {DATASET: version.digest})

    assert not says(world, "ended with FAILURE; newer data starts another")


def test_a_run_that_was_only_stopped_with_dagster_is_tried_again_but_not_for_ever(world):
    version = world.publish(140)

    @dg.op
    def stopped() -> None:
        raise dg.Failure("stopped", metadata={STOPPED: True})

    @dg.job
    def retrain() -> None:
        stopped()

    keys = set()
    for _ in range(3):
        due = world.due()
        assert due.decision.start
        keys.add(due.run_key)
        retrain.execute_in_process(instance=world.instance, tags={DATASET: version.digest}, raise_on_error=False)

    assert len(keys) == 3
    assert not says(world, "ended with FAILURE; newer data starts another")


def test_a_command_at_work_is_waited_for(world):
    world.publish(140)
    with home.only_one(world.settings, "run"):
        assert not says(world, "a `phi` command is at work")
    assert says(world, "new conversations")


def test_the_cooldown_counts_from_the_last_training(tmp_path, instance):
    its = World(tmp_path, instance, PHI_RETRAIN_COOLDOWN_MINUTES="5")
    its.train(its.publish(100))
    its.publish(140)

    assert not says(its, "but the last training ended or began 0 minutes ago; 5 must pass")


def test_money_is_asked_for_last_and_binds(world):
    needs = Quota(
        digest="q",
        name="",
        region="",
        needs=(),
        requested="",
        dollars_an_hour=3.67,
        dearest_job=4.9,
        portal="",
    )
    world.keep("gpu_quota", needs)
    costs = world.resources["cost_report"] = Costs(left=4.0)
    world.publish(103)
    world.due()
    assert costs.asked == 0

    world.publish(140)

    assert not says(world, "4.00 dollars are left")
    world.resources["cost_report"] = Costs(left=5.0)
    assert says(world, "new conversations")


def test_a_dataset_that_was_trained_on_and_is_gone_is_counted_by_its_size(world):
    old = json.loads(Path(world.records.folder, "fine_tuned_model.json").read_text())["dataset_digest"]
    world.publish(140)
    folder = world.settings.state / "datasets" / old
    folder.rename(folder.with_name("elsewhere"))

    assert says(world, "since the last training on 0")


def test_a_verdict_on_a_version_is_found_behind_those_on_newer_ones(world):
    old = world.publish(140)
    newer = world.publish(150, passed=False)

    assert check_gates.failed_checks(world.catalog, "chat_dataset", old.digest) == []
    assert check_gates.missing_verdicts(world.catalog, "chat_dataset", old.digest) == []
    assert len(check_gates.failed_checks(world.catalog, "chat_dataset", newer.digest)) == len(DESCRIPTIONS)


def test_a_version_that_is_still_being_checked_is_waited_for(world):
    version = dataclasses.replace(world.publish(140), digest="just made")
    key = dg.AssetKey("chat_dataset")
    world.instance.add_run(
        dg.DagsterRun(
            job_name="dataset_automation", status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({key})
        )
    )
    said: list[str] = []

    def judged_meanwhile(words: str) -> None:
        said.append(words)
        world.judge(version, passed=True)

    check_gates.wait_for_verdicts(
        world.instance, world.catalog, "chat_dataset", version.digest, judged_meanwhile, run="this", seconds=60
    )

    assert said == ["waiting for the checks of chat_dataset just made in another run"]
    check_gates.require_passed(world.catalog, "chat_dataset", version.digest)


def test_nobody_waits_for_checks_that_no_run_will_make(world):
    check_gates.wait_for_verdicts(
        world.instance, world.catalog, "chat_dataset", "unknown", pytest.fail, run="this", seconds=60
    )


@pytest.fixture
def drifting(tmp_path, instance) -> World:
    """A home where only drift can start a training: 12 new conversations, whose drift is not measured yet."""
    its = World(tmp_path, instance, PHI_RETRAIN_MIN_GROWTH="1", PHI_RETRAIN_MIN_DRIFT="0.0001")
    its.train(its.publish(100))
    its.publish(115)
    return its


def measured(world: World, distance: float) -> None:
    """Store a drift as check `little_drift` does."""
    dataset, model = (world.records.latest(dg.AssetKey(name)) for name in ("chat_dataset", "fine_tuned_model"))
    assert isinstance(dataset, DatasetVersion)
    assert isinstance(model, ModelVersion)
    pair = {f"{model.dataset_digest} {dataset.digest}": asdict(Drift(distance, 15, 100, True))}
    (world.settings.state / "drift.json").write_text(json.dumps(pair), encoding="utf-8")


def test_drift_that_is_not_measured_yet_is_asked_of_a_run_and_not_measured_in_the_tick(drifting, monkeypatch):
    monkeypatch.setattr(drift, "_distance", lambda old, new: pytest.fail("measured in the tick"))

    due = drifting.due()

    assert (due.decision.start, due.measure) == (False, True)
    assert "new conversations since the last training on" in due.decision.reason
    assert due.decision.reason.endswith("job `freshness` measures their drift")
    assert due.run_key == drifting.due().run_key


@pytest.mark.parametrize(("distance", "start"), [(0.5, True), (0.00001, False)])
def test_measured_drift_decides(drifting, distance, start):
    measured(drifting, distance)

    due = drifting.due()

    assert (due.decision.start, due.measure) == (start, False)
    assert f"drift {distance:.2f}" in due.decision.reason


def test_with_measured_drift_no_conversation_is_read_however_often_the_sensor_ticks(drifting):
    measured(drifting, 0.00001)
    for folder in (drifting.settings.state / "datasets").iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)

    assert not says(drifting, "15 new conversations since the last training on 100")


def test_a_tick_asks_the_instance_for_a_few_records_however_long_the_history_is(drifting, monkeypatch):
    measured(drifting, 0.00001)
    read = Counter[str]()
    for storage in (drifting.instance.event_log_storage, drifting.instance.run_storage):
        count_records(storage, read, monkeypatch)
    drifting.due()
    once = read.copy()
    for number in range(30):
        drifting.run("everything", dg.DagsterRunStatus.SUCCESS)
        drifting.judge(dataclasses.replace(drifting.newest(), digest=f"old {number}"), passed=True)
        drifting.instance.report_runless_asset_event(dg.AssetMaterialization("fine_tuned_model"))
    drifting.judge(drifting.newest(), passed=True)
    read.clear()

    drifting.due()

    assert once.total() > 0
    assert read == once
    assert read.total() <= 2 * len(DESCRIPTIONS)


def count_records(storage: Any, read: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the records that each method of Dagster's storage returns."""

    def counting(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **others: Any) -> Any:
            found = method(*arguments, **others)
            read[name] += len(found) if isinstance(found, list | tuple | dict) else 1
            return found

        return counted

    for name in dir(storage):
        if name.startswith(("get_", "fetch_")):
            monkeypatch.setattr(storage, name, counting(name, getattr(storage, name)))


def test_the_verdicts_on_a_version_are_read_once(world, monkeypatch):
    version = world.publish(140)
    asked: list[str] = []
    verdicts = HomeCatalog.verdicts

    def counted(self: HomeCatalog, asset: str, subject: str) -> Any:
        asked.append(f"{asset} {subject}")
        return verdicts(self, asset, subject)

    monkeypatch.setattr(HomeCatalog, "verdicts", counted)
    check_gates.require_passed(world.catalog, "chat_dataset", version.digest)
    world.due()

    assert asked == 2 * [f"chat_dataset {version.digest}"]
