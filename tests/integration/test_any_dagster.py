"""The project on a storage that refuses what Dagster+ or a sharded store refuses, and beside another code location."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.runs.base import RunStorage

from phi_assets.graph.dagster_internals import checks_in, graph_of_sensor, open_instance
from phi_assets.instance import runs
from phi_assets.project import PROJECT
from phi_assets.settings import current
from tests.support import allowed_storage
from tests.support.allowed_storage import AllowedEventLog, NotAllowed
from tests.support.homes import OWN, Home, settings_of, settings_of_its_own, tiny_home

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    # Dagster's own GraphQL client.
    pytest.mark.filterwarnings("ignore:Using variable_values and operation_name:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
]
ROWS = 150
FIRST = ("ml_workspace", "training_environment", "base_model", "chat_dataset", "replay_conversations")


def restricted(folder: Path) -> dict[str, object]:
    """Return the part of a dagster.yaml that restricts storage in the folder."""
    custom = {"module": "tests.support.allowed_storage", "class": "AllowedStorage", "config": {"base_dir": str(folder)}}
    return {"storage": {"custom": custom}}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.DagsterInstance.local_temp(str(folder), overrides=restricted(folder)) as made:
        yield made


def test_the_list_names_methods_that_dagster_has():
    own_to_dagster_plus = {"enable_secondary_index", "is_asset_aware", "fetch_planned_materializations"}
    own_to_dagster_plus |= {"get_materialization_count_by_partition", "has_bulk_actions_table"}
    for names, base in ((allowed_storage.EVENT_LOG, EventLogStorage), (allowed_storage.RUNS, RunStorage)):
        unknown = {name for name in names if not hasattr(base, name)} - own_to_dagster_plus
        assert not unknown - {"get_run_by_id"}  # of DagsterInstance's own, which every run storage has


def test_what_is_not_on_the_list_raises(instance: dg.DagsterInstance):
    storage = instance.event_log_storage
    assert isinstance(storage, AllowedEventLog)
    with pytest.raises(NotAllowed):
        storage.get_asset_check_execution_history(dg.AssetCheckKey(dg.AssetKey("a"), "b"), limit=1)
    with pytest.raises(NotImplementedError):
        storage.get_logs_for_all_runs_by_log_id(0)
    with pytest.raises(NotAllowed):
        instance.delete_run("a")


@pytest.mark.parametrize("project", ["support", pytest.param("", marks=pytest.mark.long)])
def test_what_is_made_before_the_training_and_every_sensor_and_reading_need_only_what_is_allowed(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch, project: str
):
    (tmp_path / "conversations.jsonl").write_text(
        "".join(OWN.read_text(encoding="utf-8").splitlines(keepends=True)[:ROWS]), encoding="utf-8"
    )
    home = tiny_home(tmp_path, tmp_path / "conversations.jsonl", 3410)
    for name, value in {**home.settings, "PHI_WEBHOOK": "http://127.0.0.1:9/"}.items():
        monkeypatch.setenv(name, value)
    of_project = {"PHI_PROJECT": project} if project else {}
    with settings_of_its_own(of_project):
        from phi_assets.definitions import definitions

        graph = definitions()
        assert graph.resolve_job_def("observe_sources").execute_in_process(instance=instance).success
        done = graph.resolve_job_def("everything").execute_in_process(
            instance=instance,
            asset_selection=[dg.AssetKey([*of_project.values(), name]) for name in FIRST],
            raise_on_error=False,
        )
        assert done.success, [str(each) for each in done.get_step_failure_events()]
        looked_at(instance, graph)
        if project:
            assert {key.path[0] for key in instance.get_asset_keys()} == {project}


def looked_at(instance: dg.DagsterInstance, graph: dg.Definitions) -> None:
    """Call what sensors and commands call, which raises where it is refused."""
    from phi_assets.graph import adoption, staleness
    from phi_assets.instance.home_clean import clean

    resources, repository = dict(graph.resources or {}), graph.get_repository_def()
    for sensor in repository.sensor_defs:
        if isinstance(sensor, dg.AutomationConditionSensorDefinition):  # which the daemon evaluates
            continue
        with dg.build_sensor_context(instance=instance, repository_def=repository, resources=resources) as context:
            sensor.evaluate_tick(context)
    states = staleness.asset_states(instance, graph)
    assert {name: states[name].reasons for name in FIRST} == dict.fromkeys(FIRST, ())
    assert adoption.adopt(instance, staleness.assets_of(graph), resources, print) == []
    assert runs.under_way(instance) == []
    clean(instance, current(), resources, print, dry_run=False)
    context = dg.build_sensor_context(instance=instance, repository_def=repository)
    assert checks_in(graph_of_sensor(context))


@pytest.fixture
def restricted_home(tmp_path: Path) -> Iterator[Home]:
    """A home whose operator configured the restricted storage."""
    own = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "conversations.jsonl").write_text("".join(own[:ROWS]), encoding="utf-8")
    its = tiny_home(tmp_path, tmp_path / "conversations.jsonl", 3415)
    its.settings["PYTHONPATH"] = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    folder = settings_of(its).dagster_home
    folder.mkdir(parents=True)
    configuration = yaml.safe_load((PROJECT / "dagster.yaml").read_text(encoding="utf-8")) | restricted(folder)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    yield its
    its.phi("down")


@pytest.mark.long
def test_the_whole_graph_its_sensors_and_every_command_need_only_what_is_allowed(restricted_home: Home):
    restricted_home.run()

    assert set(restricted_home.status().values()) == {"fresh"}
    assert restricted_home.run() == set()
    for command in ("models", "experiments", "clean"):
        done = restricted_home.phi(command)
        assert done.returncode == 0, done.stdout + done.stderr
    answer = restricted_home.told("ask", "Hello?")
    assert restricted_home.told("why", answer["id"])["answer"]["id"] == answer["id"]
    with open_instance(settings_of(restricted_home).dagster_home) as instance:
        assert isinstance(instance.event_log_storage, AllowedEventLog)
        time.sleep(90)  # each sensor ticks at least once in this time
        states = instance.all_instigator_state()
        ticks = {
            state.name: list(instance.get_ticks(state.instigator_origin_id, state.selector_id)) for state in states
        }
        failed = {name: str(each.error) for name, found in ticks.items() for each in found if each.error}
    assert {"dead_run_monitor", "retraining_policy"} <= {name for name, found in ticks.items() if found}
    assert not failed
