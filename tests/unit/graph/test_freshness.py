"""The four checks that warn: each on a real instance, in the job that runs them, and in what a run says of them."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import orjson
import pytest

from phi_assets.conversations.drift import drift_since
from phi_assets.definitions import definitions
from phi_assets.graph import freshness
from phi_assets.graph.freshness import champion_serves, little_drift, passed_on
from phi_assets.instance import runs
from phi_assets.outcome import CheckOutcome
from phi_assets.project import PROJECT
from phi_assets.records import DatasetVersion, RegisteredModel
from phi_assets.settings import OWN_DATASET, current
from tests.support.event_log import made, observed
from tests.support.fake_records import a_model

SOURCE, READER = "raw_conversations", "chat_dataset"
CHAMPION = RegisteredModel(
    digest="m2", name="phi-chat", version="2", address="", model_digest="m2", dataset_digest="", training_run=""
)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own for the settings of this process."""
    monkeypatch.setenv("PHI_HOME", str(tmp_path))
    current.cache_clear()
    yield tmp_path
    current.cache_clear()


def waited(instance: dg.DagsterInstance, hours: float = 24) -> CheckOutcome:
    return passed_on(instance, SOURCE, READER, hours=hours, remedy="start `phi run`")


def test_a_quiet_inbox_is_fresh_however_long_it_is_quiet(instance):
    observed(instance, SOURCE, "v1", hours_ago=9000)
    made(instance, READER, "d1", {SOURCE: "v1"}, hours_ago=8999)
    observed(instance, SOURCE, "v1")

    assert waited(instance).passed
    assert waited(instance).numbers["hours_waiting"] == 0


def test_what_waits_is_warned_of_after_the_hours_allowed_and_not_before(instance):
    observed(instance, SOURCE, "v1", hours_ago=50)
    made(instance, READER, "d1", {SOURCE: "v1"}, hours_ago=49)
    observed(instance, SOURCE, "v2", hours_ago=30)

    assert waited(instance, hours=31).passed
    found = waited(instance, hours=29)
    assert not found.passed
    assert "for 30.0 hours; start `phi run`" in found.description


@pytest.mark.parametrize("page", [3, freshness.PAGE])
def test_of_what_arrives_every_hour_the_first_that_waits_counts(page, instance, monkeypatch):
    monkeypatch.setattr(freshness, "PAGE", page)
    observed(instance, SOURCE, "v0", hours_ago=60)
    made(instance, READER, "d0", {SOURCE: "v0"}, hours_ago=59)
    for hours in range(30, 0, -1):
        observed(instance, SOURCE, f"v{hours}", hours_ago=hours)

    assert waited(instance).numbers["hours_waiting"] == pytest.approx(30, abs=0.1)


def test_a_version_that_is_no_longer_in_the_log_is_not_searched_for_in_all_of_it(instance, monkeypatch):
    monkeypatch.setattr(freshness, "PAGE", 2)
    monkeypatch.setattr(freshness, "MOST_VERSIONS", 4)
    made(instance, READER, "d0", {SOURCE: "deleted"}, hours_ago=59)
    for hours in range(30, 0, -1):
        observed(instance, SOURCE, f"v{hours}", hours_ago=hours)
    read: list[int] = []
    fetch = instance.fetch_observations

    def counted(*arguments: Any, **others: Any) -> Any:
        page = fetch(*arguments, **others)
        read.append(len(page.records))
        return page

    monkeypatch.setattr(instance, "fetch_observations", counted)

    assert waited(instance).numbers["hours_waiting"] == pytest.approx(4, abs=0.1)
    assert sum(read) <= 6


def test_content_that_came_back_to_what_was_taken_in_waits_for_nothing(instance):
    observed(instance, SOURCE, "v1", hours_ago=90)
    made(instance, READER, "d1", {SOURCE: "v1"}, hours_ago=89)
    observed(instance, SOURCE, "v2", hours_ago=80)
    observed(instance, SOURCE, "v1", hours_ago=70)

    assert waited(instance).passed


def test_before_anything_was_made_nothing_is_warned_of(instance):
    observed(instance, SOURCE, "v1", hours_ago=90)

    assert waited(instance).passed


def test_a_model_is_superseded_by_a_dataset_of_other_content_only(instance):
    made(instance, READER, "d1", hours_ago=300)
    made(instance, "fine_tuned_model", "m1", {READER: "d1"}, hours_ago=299)
    made(instance, READER, "d1", hours_ago=290)
    same = passed_on(instance, READER, "fine_tuned_model", hours=168, remedy="")
    made(instance, READER, "d2", hours_ago=200)
    made(instance, READER, "d2", hours_ago=1)

    assert same.passed
    found = passed_on(instance, READER, "fine_tuned_model", hours=168, remedy="")
    assert not found.passed
    assert found.numbers["hours_waiting"] == pytest.approx(200, abs=0.1)


class Registry:
    """Whose champion is given."""

    def __init__(self, champion: RegisteredModel | None) -> None:
        self._champion = champion

    def champion(self) -> RegisteredModel | None:
        return self._champion


class Host:
    """With these versions behind the endpoint, by their share of the traffic."""

    def __init__(self, **shares: int) -> None:
        self.deployments = [
            {"name": name, "traffic": share, "model_name": "phi-chat", "model_version": name.strip("v")}
            for name, share in shares.items()
        ]

    def status(self) -> dict[str, Any]:
        return {"deployments": self.deployments}


def served(instance: dg.DagsterInstance, host: Host, champion: RegisteredModel | None = CHAMPION) -> CheckOutcome:
    return champion_serves(instance, "this run", Registry(champion), host)  # type: ignore[arg-type]


def test_the_version_with_the_most_traffic_is_held_against_the_champion(instance):
    made(instance, "online_deployment", "x")

    assert served(instance, Host(v1=10, v2=90)).passed
    found = served(instance, Host(v1=90, v2=10))
    assert not found.passed
    assert found.description.startswith("phi-chat 1 serves, and the champion is phi-chat 2; start job `redeploy`")
    assert not served(instance, Host()).passed
    assert served(instance, Host(v1=100), champion=None).passed


def test_before_the_first_deployment_nobody_is_asked(instance):
    assert champion_serves(instance, "this run", None, None).passed  # type: ignore[arg-type]


def test_while_a_run_deploys_the_old_version_may_serve(instance):
    made(instance, "online_deployment", "x")
    job = definitions().resolve_implicit_global_asset_job_def()
    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, asset_selection={dg.AssetKey("online_deployment")}
    )

    assert served(instance, Host(v1=100)).passed
    assert not champion_serves(instance, run.run_id, Registry(CHAMPION), Host(v1=100)).passed  # type: ignore[arg-type]
    instance.report_run_canceled(run)
    assert not served(instance, Host(v1=100)).passed


def published(folder: Path, *sources: Path) -> Path:
    """A dataset folder with the conversations of these files."""
    folder.mkdir(parents=True)
    lines = [line for source in sources for line in source.read_bytes().splitlines()]
    rows = [{"id": f"{number}", "group": "g", **orjson.loads(line)} for number, line in enumerate(lines)]
    (folder / "train.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    for side in ("validation", "test"):
        (folder / f"{side}.jsonl").touch()
    return folder


NEW_PRODUCT = PROJECT / "data" / "new_product" / "conversations.jsonl"


def test_conversations_about_a_new_product_are_warned_of_as_drift(tmp_path):
    before, after = published(tmp_path / "a", OWN_DATASET), published(tmp_path / "b", OWN_DATASET, NEW_PRODUCT)

    drift = drift_since(before, after)
    found = little_drift(drift, most=0.6, by_itself=False)

    assert not found.passed
    assert (found.numbers["new_conversations"], found.numbers["trained_on"]) == (50, 300)
    assert isinstance(found.numbers["drift"], float)
    assert little_drift(drift, most=1.1, by_itself=False).passed
    watched = little_drift(drift, most=0.6, by_itself=True)
    assert (watched.passed, watched.numbers) == (True, found.numbers)


def test_without_enough_that_is_new_there_is_no_number_and_no_warning(tmp_path):
    before = published(tmp_path / "a", OWN_DATASET)

    for found in (
        little_drift(drift_since(before, before), most=0.6, by_itself=False),
        little_drift(None, most=0.6, by_itself=False),
    ):
        assert found.passed
        assert "drift" not in found.numbers


def verdicts(instance: dg.DagsterInstance, graph: dg.Definitions, job: str = "freshness") -> dict[str, Any]:
    done = graph.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)
    assert done.success
    return {each.check_name: each for each in done.get_asset_check_evaluations()}


def test_the_job_asks_all_four_in_a_home_where_nothing_was_made(instance, home):
    found = verdicts(instance, definitions())

    assert {name: each.passed for name, each in found.items()} == {
        "taken_in": True,
        "trained_on_newest_dataset": True,
        "serves_the_champion": True,
        "little_drift": True,
    }
    assert not any(instance.get_latest_materialization_event(key) for key in instance.get_asset_keys())


def test_the_job_warns_by_the_settings_and_ends_well(instance, home, monkeypatch):
    monkeypatch.setenv("PHI_STALE_HOURS", "5")
    monkeypatch.setenv("PHI_SUPERSEDED_DAYS", "2")
    monkeypatch.setenv("PHI_AUTOMATION", "off")
    graph = definitions()
    keep(graph, "chat_dataset", dataset_record("d2", published(home / "b", OWN_DATASET, NEW_PRODUCT)))
    keep(graph, "fine_tuned_model", replace(a_model("m1", ""), dataset_digest="d1"))
    find_datasets(graph, monkeypatch, {"d1": dataset_record("d1", published(home / "a", OWN_DATASET))})
    observed(instance, SOURCE, "v1", hours_ago=90)
    made(instance, READER, "d1", {SOURCE: "v1"}, hours_ago=89)
    made(instance, "fine_tuned_model", "m1", {READER: "d1"}, hours_ago=88)
    made(instance, READER, "d2", {SOURCE: "v1"}, hours_ago=49)
    observed(instance, SOURCE, "v2", hours_ago=6)

    found = verdicts(instance, graph)

    warned = {name for name, each in found.items() if not each.passed}
    assert warned == {"taken_in", "trained_on_newest_dataset", "little_drift"}
    assert {found[name].severity for name in warned} == {dg.AssetCheckSeverity.WARN}
    assert found["little_drift"].metadata["drift"].value > 0.9


def test_drift_between_known_versions_is_not_measured_again(instance, home, monkeypatch):
    graph = definitions()
    keep(graph, "chat_dataset", dataset_record("d2", published(home / "b", OWN_DATASET, NEW_PRODUCT)))
    keep(graph, "fine_tuned_model", replace(a_model("m1", ""), dataset_digest="d1"))
    find_datasets(graph, monkeypatch, {"d1": dataset_record("d1", published(home / "a", OWN_DATASET))})
    first = verdicts(instance, graph)["little_drift"]
    shutil.rmtree(home / "a")
    shutil.rmtree(home / "b")

    again = verdicts(instance, graph)["little_drift"]

    assert again.metadata["drift"].value == first.metadata["drift"].value > 0.9
    assert again.description == first.description


@pytest.fixture
def without_registry(instance, home, monkeypatch) -> dg.Definitions:
    """The graph after a deployment, when the registry is out of reach."""
    made(instance, "online_deployment", "x")
    graph = definitions()

    def broken(self) -> None:
        raise ConnectionError("no route to the registry")

    monkeypatch.setattr(type((graph.resources or {})["registry"]), "champion", broken)
    return graph


def test_a_registry_that_cannot_be_asked_is_a_warning_and_never_a_failed_run(instance, without_registry):
    found = verdicts(instance, without_registry)["serves_the_champion"]

    assert not found.passed
    assert found.description == "the check could not run: ConnectionError: no route to the registry"


def test_a_run_calls_a_failed_warning_a_warning_and_no_error(instance, without_registry):
    verdicts(instance, without_registry)
    (run,) = instance.get_runs()
    said: list[str] = []

    outcome = runs.follow(instance, run.run_id, lambda _step, words: said.append(words))

    assert outcome.ended_well
    assert outcome.errors == ()
    assert any(line.startswith("check serves_the_champion: warning. the check could not run") for line in said)
    assert not any("FAILED" in line for line in said)


def test_observing_the_sources_asks_whether_they_were_taken_in(instance, home):
    assert set(verdicts(instance, definitions(), "observe_sources")) == {"taken_in"}


def test_no_warning_blocks_anything():
    graph = definitions().resolve_asset_graph()
    checks = {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}

    for name in ("taken_in", "trained_on_newest_dataset", "serves_the_champion", "little_drift"):
        assert not checks[name].blocking
        assert "When it warns: " in (checks[name].description or "")


@pytest.mark.parametrize(("automation", "status"), [("on", "RUNNING"), ("off", "STOPPED")])
def test_every_hour_when_automation_is_on(automation, status, monkeypatch):
    from phi_assets.graph import run_tags as defaults

    monkeypatch.setattr(defaults, "current", lambda: SimpleNamespace(automation=automation))

    assert defaults.schedule_status().value == status
    schedule = next(each for each in definitions().schedules or [] if each.name == "hourly_freshness")
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert (schedule.job_name, schedule.cron_schedule) == ("freshness", "0 * * * *")


def dataset_record(digest: str, folder: Path) -> DatasetVersion:
    return DatasetVersion(digest=digest, address=str(folder), rows={"train": 1}, groups={"train": 1})


def keep(graph: dg.Definitions, asset: str, record: Any) -> None:
    path = Path((graph.resources or {})["io_manager"].folder, asset).with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json(), encoding="utf-8")


def find_datasets(graph: dg.Definitions, monkeypatch: pytest.MonkeyPatch, known: dict[str, DatasetVersion]) -> None:
    store = type((graph.resources or {})["dataset_store"])
    monkeypatch.setattr(store, "find", lambda self, digest: known.get(digest))
