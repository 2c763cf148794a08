from pathlib import Path

import dagster as dg
import pytest

from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.backends.local.operations.asset_catalog import HomeCatalog
from phi_assets.graph import check_gates, staleness
from phi_assets.graph.asset_facts import LIVE, stored_by
from phi_assets.graph.io_manager import RecordIOManager
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.base import Port
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.records import Evaluation
from tests.support.fake_records import a_model, evaluated
from tests.support.toy_graph import MADE, Cupboard, toy_graph
from tests.unit.backends.local.evaluation.test_registry import written


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(check_gates, "BLOCKING", {"grain": ("clean",)})


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance: dg.DagsterInstance, graph: dg.Definitions, names: list[str]) -> bool:
    job = graph.resolve_implicit_global_asset_job_def()
    chosen = [dg.AssetKey(name) for name in names]
    return job.execute_in_process(instance=instance, asset_selection=chosen, raise_on_error=False).success


def observe(instance: dg.DagsterInstance, graph: dg.Definitions) -> None:
    run(instance, graph, ["field"])


def made(instance: dg.DagsterInstance, folder: Path, **changes) -> dg.Definitions:
    """The toy graph, wholly materialised."""
    graph = toy_graph(folder, **changes)
    observe(instance, graph)
    assert run(instance, graph, ["grain", "flour", "bread"])
    return graph


def statuses(instance: dg.DagsterInstance, graph: dg.Definitions) -> dict[str, str]:
    found = staleness.asset_states(instance, graph)
    return {name: state.status for name, state in found.items() if state.status != "observed"}


def wave(instance: dg.DagsterInstance, graph: dg.Definitions) -> list[str]:
    return staleness.next_assets(staleness.asset_states(instance, graph))


def test_a_wholly_missing_chain_is_one_wave(instance, tmp_path):
    graph = toy_graph(tmp_path)

    assert set(statuses(instance, graph).values()) == {"missing"}
    assert wave(instance, graph) == ["grain", "flour", "bread"]


def test_what_was_just_made_is_fresh_and_nothing_runs(instance, tmp_path):
    graph = made(instance, tmp_path)

    assert set(statuses(instance, graph).values()) == {"fresh"}
    assert wave(instance, graph) == []


def test_a_home_without_records_reads_the_catalog_at_once_and_not_asset_by_asset(instance, tmp_path, monkeypatch):
    graph = made(instance, tmp_path)
    for record in (tmp_path / "records").glob("*.json"):
        record.unlink()
    monkeypatch.setattr(HomeCatalog, "record", lambda *_: pytest.fail("an asset was read by itself"))

    assert set(statuses(instance, graph).values()) == {"fresh"}


def test_a_changed_source_makes_what_reads_it_stale_and_the_rest_waits(instance, tmp_path):
    made(instance, tmp_path)
    graph = toy_graph(tmp_path, source="s2")

    observe(instance, graph)

    assert statuses(instance, graph) == {"grain": "stale", "flour": "fresh", "bread": "fresh"}
    assert wave(instance, graph) == ["grain"]


def test_what_is_true_for_the_moment_is_asked_again_before_what_stands_behind_it(instance, tmp_path):
    graph = made(instance, tmp_path, grain_tags={LIVE: "true"})
    assert wave(instance, graph) == []

    (tmp_path / "f1").unlink()
    assert wave(instance, graph) == ["grain", "flour"]


def test_what_stands_on_a_damaged_place_is_asked_for_once_that_is_mended(instance, tmp_path, monkeypatch):
    made(instance, tmp_path)
    elsewhere = Cupboard(folder=str(tmp_path / "unreachable"))
    graph = toy_graph(tmp_path, elsewhere="elsewhere")
    graph = dg.Definitions.merge(graph, dg.Definitions(resources={"elsewhere": elsewhere}))
    monkeypatch.setattr(staleness, "PLACE", "cupboard")

    (tmp_path / "g1").rename(tmp_path / "away")
    assert statuses(instance, graph) == {"grain": "missing", "flour": "fresh", "bread": "fresh"}
    assert staleness.asset_states(instance, graph)["bread"].reasons == (
        "not verified: an upstream resource is missing",
    )

    assert staleness.damaged_assets(graph) == {"grain": "what was made is gone"}

    (tmp_path / "away").rename(tmp_path / "g1")
    assert staleness.damaged_assets(graph) == {}
    assert statuses(instance, graph) == {"grain": "fresh", "flour": "missing", "bread": "missing"}


def test_unchanged_content_stops_the_wave(instance, tmp_path):
    made(instance, tmp_path)
    graph = toy_graph(tmp_path, source="s2")
    observe(instance, graph)

    assert run(instance, graph, wave(instance, graph))

    assert wave(instance, graph) == []


def test_changed_content_goes_on_to_what_depends_on_it(instance, tmp_path):
    made(instance, tmp_path)
    graph = toy_graph(tmp_path, source="s2", content={"grain": "g2"})
    observe(instance, graph)
    assert run(instance, graph, ["grain"])

    found = staleness.asset_states(instance, graph)

    assert staleness.next_assets(found) == ["flour"]
    assert found["flour"].reasons == ("grain changed",)


def test_another_code_version_makes_an_asset_stale(instance, tmp_path):
    made(instance, tmp_path)

    found = staleness.asset_states(instance, toy_graph(tmp_path, flour_code="2"))

    assert found["flour"].reasons == ("its code or one of its settings changed",)
    assert staleness.next_assets(found) == ["flour"]


def test_an_asset_waits_when_what_lies_between_may_turn_out_unchanged(instance, tmp_path):
    made(instance, tmp_path)

    graph = toy_graph(tmp_path, grain_code="2", bread_code="2")

    assert statuses(instance, graph) == {"grain": "stale", "flour": "fresh", "bread": "stale"}
    assert wave(instance, graph) == ["grain"]


def test_an_artefact_that_vanished_is_missing(instance, tmp_path):
    graph = made(instance, tmp_path)

    (tmp_path / "f1").unlink()

    found = staleness.asset_states(instance, graph)
    assert (found["flour"].status, found["flour"].reasons) == ("missing", ("what was made is gone",))
    assert staleness.next_assets(found) == ["flour"]


def test_a_failed_blocking_check_blocks_what_is_behind_it(instance, tmp_path):
    graph = toy_graph(tmp_path, clean=False)
    observe(instance, graph)

    assert not run(instance, graph, ["grain", "flour", "bread"])

    found = staleness.asset_states(instance, graph)
    assert found["flour"].status == "blocked"
    assert found["flour"].reasons == ("grain: check clean failed: stones",)
    assert staleness.next_assets(found) == []


def test_an_asset_behind_a_failed_check_refuses_when_it_is_launched_alone(instance, tmp_path):
    graph = toy_graph(tmp_path, clean=False)
    run(instance, graph, ["grain"])

    assert not run(instance, graph, ["flour"])
    assert instance.get_latest_materialization_event(dg.AssetKey("flour")) is None


def test_a_verdict_on_another_version_does_not_count(instance, tmp_path):
    graph = toy_graph(tmp_path, subject="another")
    run(instance, graph, ["grain"])

    found = staleness.asset_states(instance, graph)
    assert found["grain"].reasons == ("not yet judged by clean",)
    assert not run(instance, graph, ["flour"])


def test_an_asset_without_a_verdict_is_made_again(instance, tmp_path):
    graph = toy_graph(tmp_path)
    observe(instance, graph)
    job = graph.resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, op_selection=["grain"])

    found = staleness.asset_states(instance, graph)

    assert found["grain"].reasons == ("not yet judged by clean",)
    assert staleness.next_assets(found) == ["grain", "flour", "bread"]


def test_a_record_that_the_catalog_never_heard_of_gives_way_to_the_catalog_s(instance, tmp_path):
    graph = made(instance, tmp_path)

    (tmp_path / "f9").touch()
    (tmp_path / "records" / "flour.json").write_text('{"record": "Thing", "digest": "f9"}')

    flour = staleness.asset_states(instance, graph)["flour"]
    assert flour.status == "fresh"
    assert flour.record is not None
    assert flour.record.digest == "f1"


def test_dagsters_own_view_agrees(instance, tmp_path):
    from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
    from dagster._core.loader import LoadingContextForTest

    made(instance, tmp_path)
    graph = toy_graph(tmp_path, source="s2", bread_code="2")
    observe(instance, graph)

    theirs = CachingStaleStatusResolver(instance, graph.resolve_asset_graph(), LoadingContextForTest(instance))

    stale = {name for name, status in statuses(instance, graph).items() if status == "stale"}
    assert stale == {"grain", "bread"}
    assert {name for name in MADE if theirs.get_status(dg.AssetKey(name)) == StaleStatus.STALE} >= stale


def test_a_keeper_says_why_what_was_made_is_gone(instance, tmp_path, monkeypatch):
    graph = made(instance, tmp_path)
    (tmp_path / "f1").unlink()
    monkeypatch.setattr(Cupboard, "missing_reason", lambda self, digest: f"the mice had {digest}")

    assert staleness.asset_states(instance, graph)["flour"].reasons == ("the mice had f1",)


def test_an_asset_refuses_while_what_it_stands_on_has_no_passed_verdict(instance, tmp_path):
    made(instance, tmp_path)

    check_gates.require_deps_passed(instance, HomeCatalog(state=str(tmp_path)), ["grain", "flour"])
    run(instance, toy_graph(tmp_path, clean=False), ["grain"])
    with pytest.raises(check_gates.NotPassed, match="grain: check clean failed: stones"):
        check_gates.require_deps_passed(instance, HomeCatalog(state=str(tmp_path)), ["grain", "flour"])


def test_an_asset_refuses_while_what_it_stands_on_was_never_made(instance, tmp_path):
    with pytest.raises(check_gates.NotPassed, match="check clean has not judged"):
        check_gates.require_deps_passed(instance, HomeCatalog(state=str(tmp_path)), ["grain"])


class Drawer(Port):
    """Keeps one evaluation, of a model that was compared with phi-chat/2."""

    model: str

    @property
    def kept(self) -> Evaluation:
        return evaluated(a_model(self.model, ""), "phi-chat/2")

    def find(self, digest: str) -> Evaluation | None:
        return self.kept if digest == self.kept.digest else None


@pytest.mark.parametrize("clean", [True, False], ids=["passed", "refused"])
def test_what_passed_against_another_champion_is_evaluated_again(instance, tmp_path, monkeypatch, clean):
    monkeypatch.setattr(check_gates, "BLOCKING", {"model_evaluation": ("clean",)})
    registry = MlflowRegistry(home=str(tmp_path / "mlflow"))
    for number, name in enumerate(["a", "b"]):
        model = written(tmp_path, name)
        registry.register(model, evaluated(model, f"phi-chat/{number}" if number else None), {})

    @dg.asset(name="model_evaluation", code_version="1", metadata=stored_by("evaluator"))
    def measured(evaluator: Drawer) -> dg.MaterializeResult[Evaluation]:
        return dg.MaterializeResult(value=evaluator.kept, data_version=dg.DataVersion("e"))

    @dg.asset_check(asset="model_evaluation", name="clean", blocking=True)
    def judged(model_evaluation: Evaluation, catalog: AssetCatalog) -> dg.AssetCheckResult:
        return check_gates.check_result(catalog, "clean", "model_evaluation", "e", CheckOutcome(clean, "worse"))

    graph = dg.Definitions(
        assets=[measured],
        asset_checks=[judged],
        resources={
            "evaluator": Drawer(model="c"),
            "registry": registry,
            "catalog": HomeCatalog(state=str(tmp_path)),
            "io_manager": RecordIOManager(folder=str(tmp_path / "records")),
        },
    )
    run(instance, graph, ["model_evaluation"])
    assert statuses(instance, graph) == {"model_evaluation": "fresh"}

    registry.rollback("", "run")

    state = staleness.asset_states(instance, graph)["model_evaluation"]
    said = ("the champion is phi-chat/1, the evaluation compared with phi-chat/2",)
    assert (state.status, state.reasons) == (("stale", said) if clean else ("fresh", ()))
