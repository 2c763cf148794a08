"""An event log that lacks what the project has adopts it: another machine's results, or those of a wiped history."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.defs.dataset import checks
from phi_assets.errors import BackendError
from phi_assets.graph import adoption, check_gates, code_versions, staleness
from phi_assets.graph.dagster_internals import stale_causes
from phi_assets.graph.io_manager import RecordIOManager, RecordMissing
from phi_assets.ports.catalog import NewerCatalog
from phi_assets.settings import read
from tests.support.toy_graph import MADE, toy_graph

KEYS = [dg.AssetKey(name) for name in MADE]


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(check_gates, "BLOCKING", {"grain": ("clean",)})
    monkeypatch.setattr(adoption, "BLOCKING", {"grain": ("clean",)})


@pytest.fixture
def first() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def second() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, graph: dg.Definitions, *names: str) -> None:
    job = graph.resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(name) for name in names]).success


def adopt(instance: dg.DagsterInstance, graph: dg.Definitions, log=lambda _: None) -> list[str] | None:
    return adoption.adopt(instance, staleness.assets_of(graph), graph.resources or {}, log)


def differing(instance: dg.DagsterInstance, graph: dg.Definitions) -> Mapping[str, bool]:
    return adoption.differences(instance, staleness.assets_of(graph), graph.resources or {})


def statuses(instance: dg.DagsterInstance, graph: dg.Definitions) -> dict[str, str]:
    found = staleness.asset_states(instance, graph)
    return {name: state.status for name, state in found.items() if state.status != "observed"}


def elsewhere(graph: dg.Definitions, folder: Path) -> dg.Definitions:
    """Return the graph as on another machine: its project is the same one, its own records are not there yet."""
    resources: Mapping[str, Any] = graph.resources or {}
    records = RecordIOManager(folder=str(folder / "elsewhere"), catalog=resources["catalog"])
    return dg.Definitions(
        assets=graph.assets, asset_checks=graph.asset_checks, resources={**resources, "io_manager": records}
    )


def last(instance: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def versions(tags: Mapping[str, str] | None) -> dict[str, str]:
    return {name: value for name, value in (tags or {}).items() if not name.startswith(adoption.EVENT_POINTER)}


def test_another_history_adopts_everything_and_nothing_is_made(first, second, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    theirs = elsewhere(graph, tmp_path)
    said: list[str] = []
    run(second, theirs, "field")
    assert differing(second, theirs) == dict.fromkeys(MADE, True)

    assert adopt(second, theirs, said.append) == list(MADE)

    assert said == ["adopted 3 results that the project has and this history lacked: grain, flour, bread"]
    assert set(statuses(second, theirs).values()) == {"fresh"}
    assert differing(second, theirs) == {}
    assert stale_causes(second, theirs, KEYS) == {key: [] for key in KEYS}  # Dagster's own view
    for asset in MADE:
        assert versions(last(second, asset).tags) == versions(last(first, asset).tags)
    assert second.get_run_records(filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))[1:] == []
    assert adopt(second, theirs, pytest.fail) == []


def test_an_adopted_event_says_so_and_bears_its_record_and_its_verdicts(first, second, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)

    adopt(second, elsewhere(graph, tmp_path))

    event: Any = last(second, "grain")
    assert event.description == "adopted: another machine made it, or this history was wiped"
    assert event.metadata["adopted"].value is True
    assert event.metadata["digest"].value == "g1"
    assert event.metadata["record"].value["digest"] == "g1"
    assert event.metadata["made_by_run"].value == first.get_runs()[0].run_id
    check = dg.AssetCheckKey(dg.AssetKey("grain"), "clean")
    (found,) = second.event_log_storage.get_asset_check_execution_history(check, limit=5)
    assert found.event.dagster_event.asset_check_evaluation_data.passed
    # Its inputs are the events of this log.
    (grain,) = second.fetch_materializations(dg.AssetKey("grain"), limit=1).records
    assert (last(second, "flour").tags or {})["dagster/input_event_pointer/grain"] == str(grain.storage_id)


def test_a_wiped_history_is_adopted_again(first, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    first.wipe_assets(KEYS)
    assert set(statuses(first, graph).values()) == {"fresh"}  # the catalog knows them
    assert differing(first, graph) == dict.fromkeys(MADE, True)

    assert adopt(first, graph) == list(MADE)

    assert stale_causes(first, graph, KEYS) == {key: [] for key in KEYS}


def test_where_log_and_catalog_differ_the_catalog_wins(first, second, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    adopt(second, elsewhere(graph, tmp_path))
    newer = toy_graph(tmp_path, content={"grain": "g2"})
    run(first, newer, *MADE)

    theirs = elsewhere(newer, tmp_path)
    assert differing(second, theirs) == {"grain": False, "flour": False}
    assert adopt(second, theirs) == ["grain", "flour"]

    assert versions(last(second, "flour").tags) == versions(last(first, "flour").tags)
    records = (theirs.resources or {})["io_manager"]
    assert records.latest(dg.AssetKey("grain")).digest == "g2"


def test_what_is_gone_is_not_adopted_and_is_made_again(first, second, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    (tmp_path / "flour").touch()
    (tmp_path / "f1").unlink()

    assert adopt(second, elsewhere(graph, tmp_path)) == ["grain", "bread"]

    assert staleness.next_assets(staleness.asset_states(second, elsewhere(graph, tmp_path))) == ["flour"]


def test_a_record_that_this_home_lost_is_stored_again_without_an_event(first, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    (tmp_path / "records" / "grain.json").unlink()

    assert adopt(first, graph, pytest.fail) == []

    assert json.loads((tmp_path / "records" / "grain.json").read_text())["digest"] == "g1"


def test_a_run_reads_the_record_of_an_input_that_this_machine_did_not_adopt_yet(first, second, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", "grain")
    theirs = elsewhere(graph, tmp_path)

    run(second, theirs, "flour")

    assert versions(last(second, "flour").tags)["dagster/data_version"] == "f1"
    with pytest.raises(RecordMissing, match="bread does not exist yet"):
        (theirs.resources or {})["io_manager"].require(dg.AssetKey("bread"))


def test_a_check_report_made_by_hand_opens_nothing(first, tmp_path):
    graph = toy_graph(tmp_path, clean=False)
    graph.resolve_implicit_global_asset_job_def().execute_in_process(instance=first, raise_on_error=False)
    first.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("grain"), check_name="clean", passed=True, metadata={check_gates.SUBJECT: "g1"}
        )
    )

    with pytest.raises(check_gates.NotPassed, match="grain: check clean failed: stones"):
        check_gates.require_passed(HomeCatalog(state=str(tmp_path)), "grain", "g1")


def test_other_rules_reopen_the_question(first, tmp_path, monkeypatch):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    catalog = HomeCatalog(state=str(tmp_path))
    check_gates.require_passed(catalog, "grain", "g1")

    monkeypatch.setattr(check_gates, "rules_of", lambda asset, settings: "tightened")

    with pytest.raises(check_gates.NotPassed, match="check clean has not judged version g1"):
        check_gates.require_passed(catalog, "grain", "g1")
    assert staleness.asset_states(first, graph)["grain"].reasons == ("not yet judged by clean",)


def test_the_rules_are_the_code_of_the_checks_and_the_settings_they_judge_by(tmp_path):
    def rules(**others: str) -> str:
        return code_versions.rules_of("chat_dataset", read({"PHI_HOME": str(tmp_path), **others}))

    assert checks.RULES == ("min_rows", "max_broken_share", "min_fitting_share")
    assert rules() == rules(PHI_HOME="elsewhere", PHI_PRESET="laptop")
    assert rules() != rules(PHI_MIN_ROWS="500")
    assert rules() != rules(PHI_MAX_BROKEN_SHARE="0.5")


def test_what_was_made_before_there_was_a_catalog_is_shared_with_the_verdicts_of_its_runs(first, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    for folder in ("assets", "verdicts"):
        for file in (tmp_path / "catalog" / folder).rglob("*.json"):
            file.unlink()
    first.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("grain"), check_name="clean", passed=False, metadata={check_gates.SUBJECT: "g1"}
        )
    )

    assert adopt(first, graph, pytest.fail) == []

    catalog = HomeCatalog(state=str(tmp_path))
    assert {name: made.data_version for name, made in catalog.materialisations().items()} == {
        "grain": "g1",
        "flour": "f1",
        "bread": "b1",
    }
    check_gates.require_passed(catalog, "grain", "g1")  # the report that no run made does not count


def test_a_catalog_that_cannot_be_read_leaves_the_log_to_decide(first, tmp_path, monkeypatch):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)

    def unreadable(self: HomeCatalog) -> dict[str, Any]:
        raise BackendError("the container cannot be reached")

    monkeypatch.setattr(HomeCatalog, "materialisations", unreadable)
    said: list[str] = []

    assert adopt(first, graph, said.append) is None

    (line,) = said
    assert "the container cannot be reached" in line
    assert set(statuses(first, graph).values()) == {"fresh"}


def test_an_older_release_neither_reads_nor_replaces_what_a_newer_one_wrote(first, tmp_path):
    graph = toy_graph(tmp_path)
    run(first, graph, "field", *MADE)
    file = tmp_path / "catalog" / "assets" / "grain.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": 2}))
    before = file.read_bytes()
    catalog = HomeCatalog(state=str(tmp_path))

    with pytest.raises(NewerCatalog, match="update phi-assets on this machine"):
        catalog.materialisations()
    made = HomeCatalog(state=str(tmp_path)).latest("flour")
    assert made is not None
    with pytest.raises(NewerCatalog):
        catalog.put(replace(made, asset="grain"))
    assert file.read_bytes() == before
