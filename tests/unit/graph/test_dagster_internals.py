"""Canaries: each function fails here when Dagster changes what it uses, and no other module uses it."""

import ast
import inspect
import re
from pathlib import Path

import dagster as dg
import pytest
from dagster._annotations import is_public
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin
from dagster_webserver import cli as webserver

from phi_assets.graph import dagster_internals
from phi_assets.instance import home
from phi_assets.project import PROJECT
from phi_assets.settings import read
from tests.support import runs_of_ours

CREATE = "create_app_from_workspace_process_context"


@dagster_internals.observed_source(dg.AssetSpec("source", owners=["team:ml"], kinds={"json"}))
def source() -> dg.ObserveResult:
    return dg.ObserveResult(data_version=dg.DataVersion("s1"))


@dg.asset(deps=[source], pool="training")
def made(context: dg.AssetExecutionContext) -> None:
    context.log.info("made")


@dg.asset_check(asset=made)
def good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"subject": "m1"})


@dg.asset
def fails() -> None:
    raise dg.Failure("on purpose")


DEFINITIONS = dg.Definitions(assets=[source, made, fails], asset_checks=[good])
MADE = dg.AssetKey("made")


@pytest.fixture
def instance(tmp_path: Path):
    """A real instance of a home: an ephemeral one has no pools."""
    with home.instance(read({"PHI_HOME": str(tmp_path)})) as opened:
        yield opened


def test_definitions_have_the_specs_of_their_assets_and_checks():
    assert [spec.key for spec in dagster_internals.specs_of(made)] == [MADE]
    assert [spec.key.to_user_string() for spec in dagster_internals.specs_of(dg.AssetSpec("one"))] == ["one"]
    (spec,) = dagster_internals.check_specs_of(good)
    assert (spec.name, spec.asset_key) == ("good", MADE)


def test_a_job_of_the_definitions_has_its_name():
    @dg.job
    def mine() -> None: ...

    assert dagster_internals.job_of(dg.Definitions(jobs=[mine]), "mine").name == "mine"


def run(instance: dg.DagsterInstance, *names: str) -> dg.ExecuteInProcessResult:
    job = DEFINITIONS.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance, asset_selection=[dg.AssetKey(name) for name in names], raise_on_error=False
    )


def test_a_source_keeps_its_owners_and_kinds_and_says_where_it_is_defined():
    assets = dagster_internals.with_code_references([source, made])

    specs = {spec.key.to_user_string(): spec for asset in assets for spec in asset.specs}
    assert (list(specs["source"].owners), specs["source"].kinds) == (["team:ml"], {"json"})
    for name, function in (("source", "def source"), ("made", "def made")):
        place = dagster_internals.definition_line(specs[name])
        assert place
        lines = Path(place[0]).read_text(encoding="utf-8").splitlines()
        assert any(line.startswith(function) for line in lines[place[1] - 1 : place[1] + 3])
    assert dagster_internals.definition_line(dg.AssetSpec("elsewhere")) is None


def test_the_folder_of_definitions_is_loaded_with_its_tree():
    loaded, tree = dagster_internals.load_folder(PROJECT / "phi_assets")

    assert {each.name for each in loaded.jobs or ()} >= {"retrain", "candidate", "freshness"}
    assert tree.defs_module_path == PROJECT / "phi_assets" / "defs"


def test_the_graph_s_nodes_have_what_staleness_reads():
    nodes = {
        node.key.to_user_string(): node
        for node in dagster_internals.nodes_in(dagster_internals.asset_graph(DEFINITIONS))
    }

    assert list(nodes)[-1] == "made"
    assert nodes["made"].parent_keys == {dg.AssetKey("source")}
    assert not nodes["source"].is_materializable
    assert nodes["made"].is_materializable
    assert nodes["made"].group_name == "default"
    assert (nodes["made"].code_version, nodes["made"].partitions_def) == (None, None)
    assert (dict(nodes["made"].metadata), dict(nodes["made"].tags)) == ({}, {})


def test_dagster_says_why_an_asset_is_stale(instance):
    causes = dagster_internals.stale_causes(instance, DEFINITIONS, [MADE])
    assert causes == {MADE: ["never made"]}

    run(instance, "source")
    run(instance, "made")
    assert dagster_internals.stale_causes(instance, DEFINITIONS, [MADE]) == {MADE: []}

    event = dg.AssetObservation("source", tags={"dagster/data_version": "s2"})
    instance.report_runless_asset_event(event)
    assert len(dagster_internals.stale_causes(instance, DEFINITIONS, [MADE])[MADE]) == 1


def test_runs_their_events_and_their_tags_are_found(instance):
    done = run(instance, "made", "fails")

    (found,) = dagster_internals.runs(instance, dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), 1)
    assert found.run_id == done.run_id
    dagster_internals.add_run_tags(instance, done.run_id, {"mine": "yes"})
    assert dagster_internals.runs(instance, dg.RunsFilter(tags={"mine": "yes"}))

    page = dagster_internals.events_of_run(instance, done.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION, limit=5)
    assert [record.event_log_entry.asset_materialization.asset_key for record in page.records] == [MADE]
    assert not page.has_more
    (failure,) = dagster_internals.log_of_run(instance, done.run_id, dg.DagsterEventType.STEP_FAILURE)
    assert failure.get_dagster_event().step_failure_data.user_failure_data.description == "on purpose"


def test_a_run_is_ended_as_failed(instance):
    @dg.job
    def unfinished() -> None: ...

    started = instance.create_run_for_job(unfinished, status=dg.DagsterRunStatus.STARTED)
    dagster_internals.fail_run(instance, started, "its process ended")

    ended = instance.get_run_by_id(started.run_id)
    assert ended
    assert ended.status == dg.DagsterRunStatus.FAILURE


def test_checks_plans_and_the_newest_events_are_read_from_the_event_log(instance):
    assert dagster_internals.newest_event(instance) == 0
    done = run(instance, "made")
    newest = dagster_internals.newest_event(instance)

    keys = [dg.AssetCheckKey(MADE, "good"), dg.AssetCheckKey(MADE, "unknown")]
    ((key, entry),) = dagster_internals.last_evaluations(instance, keys).values()
    assert (key, entry.run_id) == (keys[0], done.run_id)
    verdict = entry.get_dagster_event().asset_check_evaluation_data
    assert (verdict.passed, verdict.metadata["subject"].value) == (True, "m1")
    assert dagster_internals.last_planned_run(instance, MADE) == done.run_id
    assert dagster_internals.last_check_run(instance, dg.AssetCheckKey(MADE, "good")) == done.run_id
    assert dagster_internals.last_check_run(instance, dg.AssetCheckKey(MADE, "unknown")) == ""
    found = dagster_internals.ended_after(instance, 0, dg.DagsterEventType.RUN_SUCCESS, 10)
    assert [entry.run_id for entry in found.values()] == [done.run_id]
    assert dagster_internals.ended_after(instance, newest, dg.DagsterEventType.RUN_SUCCESS, 10) == {}


def test_pools_have_their_slots_and_those_of_ended_runs_are_freed(instance):
    storage = instance.event_log_storage
    dagster_internals.set_pool_limit(instance, "training", 1)
    assert storage.get_concurrency_info("training").slot_count == 1

    done = run(instance, "made")
    storage.claim_concurrency_slot("training", done.run_id, "made")
    assert storage.get_concurrency_info("training").claimed_slots
    dagster_internals.free_slots_of_ended_runs(instance, ["training"])
    assert not storage.get_concurrency_info("training").claimed_slots


def test_a_limit_that_an_operator_set_for_a_pool_stays(instance):
    instance.event_log_storage.set_concurrency_slots("training", 3)
    dagster_internals.set_pool_limit(instance, "training", 1)

    assert instance.event_log_storage.get_concurrency_info("training").slot_count == 3


def test_a_run_tells_who_launched_it_and_where(instance):
    launched = runs_of_ours.launched_run(instance, None, location="elsewhere")
    own = instance.create_run_for_job(runs_of_ours.nothing)

    assert dagster_internals.is_default_launcher(instance)
    assert dagster_internals.location_of_run(launched) == "elsewhere"
    assert dagster_internals.socket_of_run(launched).endswith("/code")
    assert (dagster_internals.location_of_run(own), dagster_internals.socket_of_run(own)) == ("", "")


def test_dagster_serves_the_wrapped_application(monkeypatch, tmp_path):
    served = []
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr("uvicorn.run", lambda application, **_: served.append(application))
    monkeypatch.setattr(webserver, CREATE, getattr(webserver, CREATE))  # put back after the test

    with pytest.raises(SystemExit) as ended:
        dagster_internals.run_webserver(
            ["--empty-workspace", "--port", "1"], lambda application: ("guarded", application)
        )

    assert ended.value.code == 0
    ((word, application),) = served
    assert word == "guarded"
    assert callable(application)


def test_a_webserver_that_makes_its_application_otherwise_is_not_run(monkeypatch):
    monkeypatch.delattr(webserver, CREATE)
    with pytest.raises(RuntimeError, match="not guarded"):
        dagster_internals.run_webserver([], lambda application: application)


@pytest.mark.parametrize(
    ("run", "options"),
    [
        (dagster_internals.run_daemon, {"--workspace"}),
        (dagster_internals.run_code_server, {"--socket", "--working-directory", "--module-name", "--location-name"}),
        (lambda words: dagster_internals.run_webserver(words, print), {"--host", "--port", "--workspace"}),
    ],
)
def test_dagster_s_servers_have_the_options_that_are_used(monkeypatch, capsys, run, options):
    monkeypatch.setattr(webserver, CREATE, getattr(webserver, CREATE))
    with pytest.raises(SystemExit):
        run(["--help"])

    assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


class Versions(dg.IOManager):
    """Keeps what it is told of an output."""

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        TOLD.append(dagster_internals.versions_of_output(context))

    def load_input(self, context: dg.InputContext) -> None: ...


TOLD: list[tuple[str, dict[str, str]]] = []


def test_an_output_has_the_versions_of_the_event_that_follows_it(instance):
    @dg.asset(deps=[source], code_version="c1")
    def first() -> dg.MaterializeResult[int]:
        return dg.MaterializeResult(value=1, data_version=dg.DataVersion("f1"))

    @dg.asset(deps=[first, source], code_version="c2")
    def second() -> dg.MaterializeResult[int]:
        return dg.MaterializeResult(value=2, data_version=dg.DataVersion("f2"))

    TOLD.clear()
    assert dg.materialize([source, first, second], instance=instance, resources={"io_manager": Versions()}).success

    assert [(code, sorted(inputs)) for code, inputs in TOLD] == [("c1", ["source"]), ("c2", ["first", "source"])]
    assert TOLD[1][1]["first"] == "f1"
    for asset, (code, inputs) in zip(("first", "second"), TOLD, strict=True):
        event = instance.get_latest_materialization_event(dg.AssetKey(asset))
        tags = event.asset_materialization.tags
        assert tags["dagster/code_version"] == code
        assert {name: tags[f"dagster/input_data_version/{name}"] for name in inputs} == inputs
        assert len([name for name in tags if name.startswith("dagster/input_data_version/")]) == len(inputs)


def test_a_sensor_reads_the_graph_of_its_code_location(instance):
    repository = DEFINITIONS.get_repository_def()
    context = dg.build_sensor_context(instance=instance, repository_def=repository)

    assert MADE in {node.key for node in dagster_internals.nodes_in(dagster_internals.graph_of_sensor(context))}
    assert dagster_internals.checks_in(dagster_internals.graph_of_sensor(context)) == [dg.AssetCheckKey(MADE, "good")]
    assert dagster_internals.graph_of_sensor(dg.build_sensor_context(instance=instance)) is None


def test_assets_and_checks_get_other_keys_also_of_their_inputs_and_dependencies():
    def prefixed(key: dg.AssetKey) -> dg.AssetKey:
        return key.with_prefix("p")

    @dg.asset(deps=["elsewhere"])
    def reads(made: None) -> None:
        del made

    asset = dagster_internals.with_asset_keys(reads, prefixed)
    assert asset.key == prefixed(dg.AssetKey("reads"))
    assert asset.keys_by_input_name["made"] == prefixed(MADE)
    assert asset.asset_deps[asset.key] == {prefixed(MADE), prefixed(dg.AssetKey("elsewhere"))}
    assert dagster_internals.with_asset_keys(good, prefixed).check_keys == {dg.AssetCheckKey(prefixed(MADE), "good")}
    spec = dagster_internals.with_asset_keys(dg.AssetSpec("one", deps=["two"]), prefixed)
    assert (spec.key, [dep.asset_key for dep in spec.deps]) == (
        prefixed(dg.AssetKey("one")),
        [prefixed(dg.AssetKey("two"))],
    )
    assert dagster_internals.with_asset_keys("anything", prefixed) == "anything"


def test_a_sensor_knows_its_code_location():
    origin = GrpcServerCodeLocationOrigin(host="localhost", socket="/tmp/code", location_name="models")
    context = dg.SensorEvaluationContext(
        instance_ref=None,
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        log_key=None,
        repository_name=None,
        code_location_origin=origin,
    )
    assert dagster_internals.location_of_sensor(context) == "models"
    assert dagster_internals.location_of_sensor(dg.build_sensor_context()) == ""


def test_a_launcher_says_whether_it_finds_dead_runs(instance, monkeypatch):
    assert not dagster_internals.reports_health(instance)
    monkeypatch.setattr(type(instance.run_launcher), "supports_check_run_worker_health", True)
    assert dagster_internals.reports_health(instance)


def test_every_function_has_a_canary():
    source = Path(__file__).read_text(encoding="utf-8")
    functions = inspect.getmembers(dagster_internals, inspect.isfunction)
    own = {name for name, each in functions if each.__module__ == dagster_internals.__name__ and name[0] != "_"}

    assert {name for name in own if f"dagster_internals.{name}" not in source} <= {"asset_graph", "open_instance"}


def test_no_other_module_uses_what_dagster_does_not_call_public():
    """Methods of an instance and of definitions by name, and modules whose name begins with an underscore."""
    hidden = {
        name
        for kind in (dg.DagsterInstance, dg.Definitions)
        for name, member in inspect.getmembers_static(kind)
        if inspect.isfunction(member) and name[0] != "_" and not is_public(member)
    }
    found: list[str] = []
    for path in sorted((PROJECT / "phi_assets").rglob("*.py")):
        if path.name == "dagster_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dagster._"):
                found.append(f"{path.name}: {node.module}")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in hidden:
                owner = ast.unparse(node.func.value)
                if owner.rpartition(".")[2] in ("instance", "opened", "definitions", "loaded", "graph"):
                    found.append(f"{path.name}: {owner}.{node.func.attr}")

    assert found == []
