"""New data is taken in once, by Dagster's own declarative automation; what was handled elsewhere is not done again."""

import dagster as dg
import pytest
from dagster._core.events import StepMaterializationData

from phi_assets.definitions import definitions
from phi_assets.defs.dataset.automation import TAKE_IN_NEW_DATA
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.graph.run_tags import BY_COMMAND


class Automation:
    """A real instance, and one tick after another on the project's own graph."""

    def __init__(self, instance: dg.DagsterInstance, graph: dg.Definitions | None = None) -> None:
        self.graph = graph or definitions()
        self.instance = instance
        self.cursor = None

    def observe(self, version: str) -> None:
        event = dg.AssetObservation("raw_conversations", tags={"dagster/data_version": version})
        self.instance.report_runless_asset_event(event)

    def make(self, asset: str = "chat_dataset", tags: dict[str, str] | None = None) -> None:
        """A run that made the asset has ended."""
        job = self.graph.resolve_implicit_global_asset_job_def()
        run = self.instance.create_run_for_job(job, tags=tags or {}, asset_selection={dg.AssetKey(asset)})
        self.instance.report_dagster_event(
            dg.DagsterEvent(
                dg.DagsterEventType.ASSET_MATERIALIZATION.value,
                job.name,
                event_specific_data=StepMaterializationData(dg.AssetMaterialization(asset)),
            ),
            run.run_id,
        )
        self.instance.report_run_canceled(run)  # ended, in any way

    def begin(self) -> dg.DagsterRun:
        """A run that will make the dataset is under way."""
        job = self.graph.resolve_implicit_global_asset_job_def()
        key = dg.AssetKey("chat_dataset")
        return self.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, asset_selection={key}, tags={})

    def tick(self) -> set[str]:
        found = dg.evaluate_automation_conditions(
            defs=self.graph,
            instance=self.instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=self.cursor,
        )
        self.cursor = found.cursor
        return {
            each.key.to_user_string()
            for each in found.results
            if isinstance(each.key, dg.AssetKey) and not each.true_subset.is_empty
        }


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def automation(instance) -> Automation:
    its = Automation(instance)
    its.observe("one")
    its.tick()
    its.make()
    its.tick()
    return its


def test_before_the_first_run_nothing_is_requested(instance):
    its = Automation(instance)
    its.observe("one")
    assert its.tick() == set()
    its.observe("two")
    assert its.tick() == set()
    its.make()
    assert its.tick() == set()


def test_new_content_is_requested_once(automation):
    automation.observe("two")

    assert automation.tick() == {"chat_dataset"}
    assert automation.tick() == set()
    automation.make()
    assert automation.tick() == set()


def test_an_observation_of_the_same_content_requests_nothing(automation):
    automation.observe("one")

    assert automation.tick() == set()


def test_what_changes_while_a_run_is_under_way_is_taken_in_after_it(automation):
    run = automation.begin()
    automation.observe("two")
    assert automation.tick() == set()

    automation.make()
    automation.instance.report_run_canceled(run)

    assert automation.tick() == {"chat_dataset"}


def test_what_a_command_took_in_is_not_taken_in_again(automation):
    automation.observe("two")
    automation.make(tags=BY_COMMAND)

    assert automation.tick() == set()
    automation.observe("three")
    assert automation.tick() == {"chat_dataset"}


@pytest.mark.parametrize(("passed", "requested"), [(True, {"chat_dataset"}), (False, set())])
def test_a_failed_blocking_check_of_the_place_is_not_passed(passed, requested, instance):
    """As on Azure, where the dataset stands on roles that are checked."""

    @observed_source(dg.AssetSpec("raw_conversations"))
    def raw_conversations() -> dg.ObserveResult:
        return dg.ObserveResult(data_version=dg.DataVersion(""))

    @dg.asset
    def role_assignments() -> None: ...

    @dg.asset(deps=[raw_conversations, role_assignments], automation_condition=TAKE_IN_NEW_DATA)
    def chat_dataset() -> None: ...

    @dg.asset_check(asset=role_assignments, blocking=True)
    def granted() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=passed)

    its = Automation(
        instance, dg.Definitions(assets=[raw_conversations, role_assignments, chat_dataset], asset_checks=[granted])
    )
    its.observe("one")
    dg.materialize([role_assignments, granted], instance=its.instance, raise_on_error=False)
    its.make()
    its.tick()

    its.observe("two")

    assert its.tick() == requested


def test_nothing_that_costs_money_is_requested_by_a_condition():
    graph = definitions().resolve_asset_graph()

    automatic = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).automation_condition}

    assert automatic == {"chat_dataset"}
