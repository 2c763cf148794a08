"""What a person is told of, and how often: real runs of toy assets, and a real server as the webhook."""

import os

import dagster as dg
import pytest

from phi_assets.graph import check_gates
from phi_assets.instance import dagster_record
from phi_assets.own_processes import Process, machine
from phi_assets.settings import read
from tests.support.toy_checks import Toy, refused_by_azure

STEP = "report failed in a run of __ephemeral_asset_job__"


@pytest.fixture
def toy(monkeypatch) -> Toy:
    monkeypatch.setitem(check_gates.BLOCKING, "data", ("whole", "clean"))
    return Toy()


def end(instance: dg.DagsterInstance, why: str, retry_of: str | None = None, canceling: bool = False) -> str:
    """A run that ends without any step: its process is gone."""

    @dg.job
    def train() -> None: ...

    run = instance.create_run_for_job(
        train, status=dg.DagsterRunStatus.STARTED, parent_run_id=retry_of, root_run_id=retry_of
    )
    if canceling:
        instance.report_run_canceling(run)
    instance.report_run_failed(run, why)
    return run.run_id


def test_a_run_that_ends_well_is_not_told_of(instance, watch, webhook, toy):
    toy.run(instance)

    assert watch.tick() == []
    assert webhook.posted == []


def test_all_failed_checks_of_a_version_are_one_message_with_the_step_and_the_run(instance, watch, webhook, toy):
    toy.failing = {"whole", "clean"}
    toy.run(instance)

    watch.tick()
    watch.tick()

    assert webhook.titles == ["data: blocking checks failed of version v1: whole, clean"]
    assert "whole of v1" in webhook.posted[0]["text"]


def test_a_refusal_in_a_later_run_belongs_to_the_checks_that_failed(instance, watch, webhook, toy):
    toy.failing = {"clean"}
    toy.run(instance, "data")
    toy.run(instance, "model")

    watch.tick()
    toy.run(instance, "model")
    watch.tick()

    assert webhook.titles == ["data: blocking check failed of version v1: clean"]


def test_a_refusal_without_a_known_failed_check_is_told_once(instance, watch, webhook, toy):
    toy.failing = {"clean"}
    toy.run(instance, "model")
    toy.run(instance, "model")

    watch.tick()

    assert webhook.titles == ["model failed in a run of __ephemeral_asset_job__"]


def test_the_same_version_judged_again_is_the_same_cause_and_another_version_is_not(instance, watch, webhook, toy):
    toy.failing = {"clean"}
    toy.run(instance)
    toy.run(instance)
    watch.tick()
    assert len(webhook.posted) == 1

    toy.version = "v2"
    toy.run(instance)
    watch.tick()

    assert webhook.titles[1:] == ["data: blocking check failed of version v2: clean"]


def test_another_failed_check_of_a_known_version_is_told(instance, watch, webhook, toy):
    toy.failing = {"clean"}
    toy.run(instance)
    toy.failing = {"clean", "whole"}
    toy.run(instance)

    watch.tick()

    assert len(webhook.posted) == 2


def test_a_check_that_passed_in_between_is_told_of_again(instance, watch, webhook, toy):
    for failing in ({"clean"}, set(), {"clean"}):
        toy.failing = failing
        toy.run(instance)

    watch.tick()

    assert len(webhook.posted) == 2


def test_a_warning_that_fails_again_and_again_is_told_once_although_its_runs_are_green(instance, watch, webhook, toy):
    toy.failing = {"fresh"}
    for _ in range(3):
        run = instance.get_run_by_id(toy.judge_only(instance, "report"))
        assert run.is_success
        watch.tick()

    assert webhook.titles == ["report: warning failed: fresh"]
    assert "nothing was stopped" in webhook.posted[0]["text"]


def test_a_verdict_reported_outside_of_any_run_is_told(instance, watch, webhook):
    for passed in (False, False, True, False):
        verdict = dg.AssetCheckEvaluation(asset_key=dg.AssetKey("data"), check_name="seen", passed=passed, metadata={})
        instance.report_runless_asset_event(verdict)
        watch.tick()
        watch.tick()

    assert webhook.titles == ["data: check failed: seen"] * 2


def test_a_step_that_fails_with_the_same_error_is_told_again_only_after_it_succeeded(instance, watch, webhook, toy):
    for error in ("disk 7 is full", "disk 8 is full", None, "disk 9 is full"):
        toy.broken = OSError(error) if error else None
        toy.run(instance)
        watch.tick()

    assert webhook.titles == [STEP, STEP]
    assert "disk 7 is full" in webhook.posted[0]["text"]
    assert "disk 9 is full" in webhook.posted[1]["text"]


def test_another_error_of_the_same_step_is_another_cause(instance, watch, webhook, toy):
    for error in (OSError("disk is full"), ValueError("disk is full"), OSError("disk is gone")):
        toy.broken = error
        toy.run(instance)

    watch.tick()

    assert webhook.titles == [STEP] * 3


def test_two_steps_that_fail_in_one_run_are_two_causes(instance, watch, webhook, toy):
    toy.broken = OSError("disk is full")
    toy.failing = {"clean"}
    toy.run(instance)

    watch.tick()

    assert sorted(webhook.titles) == ["data: blocking check failed of version v1: clean", STEP]


def test_a_backends_cure_is_what_to_do(instance, watch, webhook, toy):
    toy.broken = refused_by_azure()
    toy.run(instance)

    watch.tick()

    assert webhook.posted[0]["text"].splitlines()[1:] == ["the quota is 0", "What to do: ask for 24 vCPUs"]


def test_an_error_is_told_in_its_own_words_with_where_it_came_from(instance, watch, webhook, toy):
    toy.broken = RuntimeError("the file cannot be read")
    toy.broken.__cause__ = ValueError("line 3 is no JSON")
    toy.run(instance)

    watch.tick()

    said = "RuntimeError: the file cannot be read (from ValueError: line 3 is no JSON)"
    assert said in webhook.posted[0]["text"]


def test_a_run_whose_process_is_gone_is_told_once_and_so_is_its_retry_that_dies_too(instance, watch, webhook):
    first = end(instance, "process 17 of this run is gone")
    end(instance, "process 18 of this run is gone", retry_of=first)
    watch.tick()
    assert webhook.titles == ["a run of train failed"]
    assert "process 17 of this run is gone" in webhook.posted[0]["text"]

    end(instance, "process 19 of this run is gone")
    watch.tick()

    assert len(webhook.posted) == 2


def test_a_run_that_is_marked_as_failed_twice_is_told_once(instance, watch, webhook):
    run = instance.get_run_by_id(end(instance, "process 17 is gone"))
    watch.tick()
    instance.report_run_failed(run, "it did not start in time")

    watch.tick()

    assert len(webhook.posted) == 1


def test_a_run_that_a_person_cancelled_is_not_told_of(instance, watch, webhook):
    end(instance, "process 17 of this run is gone", canceling=True)

    @dg.job
    def train() -> None: ...

    run = instance.create_run_for_job(train, status=dg.DagsterRunStatus.STARTED)
    instance.report_run_canceled(run)

    assert watch.tick() == []
    assert webhook.posted == []


def test_nothing_is_told_of_a_run_that_has_not_ended(instance, watch, webhook):
    @dg.job
    def train() -> None: ...

    run = instance.create_run_for_job(train, status=dg.DagsterRunStatus.STARTED)
    verdict = dg.AssetCheckEvaluation(asset_key=dg.AssetKey("data"), check_name="seen", passed=False, metadata={})
    event = dg.DagsterEvent("ASSET_CHECK_EVALUATION", "train", event_specific_data=verdict)
    instance.report_dagster_event(event, run.run_id)
    watch.tick()
    assert webhook.posted == []

    instance.report_run_failed(run, "process 17 of this run is gone")
    watch.tick()

    assert sorted(webhook.titles) == ["a run of train failed", "data: check failed: seen"]


def test_more_endings_than_one_tick_reads_are_all_told(instance, watch, webhook, monkeypatch):
    monkeypatch.setattr("phi_assets.notifications.event_log.AT_ONCE", 2)
    toy = Toy(failing={"fresh"})
    for number in range(5):
        toy.broken = OSError("x" * (number + 1))
        toy.run(instance, "report")
        end(instance, f"gone {'y' * number}")

    for _ in range(20):
        watch.tick()

    assert len(webhook.posted) == 10
    assert len({each["text"] for each in webhook.posted}) == 10


def test_the_message_links_to_the_run_in_the_running_ui(instance, watch, webhook):
    me = Process.of(os.getpid())
    dagster_record.write(watch.settings, dagster_record.Interface(me, 4400, "", True, machine(), {}))
    run = end(instance, "process 17 of this run is gone")

    watch.tick()

    assert webhook.posted[0]["blocks"][-1]["text"]["text"] == f"<http://127.0.0.1:4400/runs/{run}|open it in Dagster>"


def test_the_message_links_to_the_address_by_which_people_reach_the_ui(instance, watch, webhook):
    given = {"PHI_HOME": str(watch.settings.home), "PHI_WEBHOOK": webhook.address}
    watch.settings = read({**given, "PHI_DAGSTER_URL": "https://dagster.example.org/team/"})
    run = end(instance, "process 17 of this run is gone")

    watch.tick()

    link = f"<https://dagster.example.org/team/runs/{run}|open it in Dagster>"
    assert webhook.posted[0]["blocks"][-1]["text"]["text"] == link
