"""Concurrent deployments and failing calls: one deployment serves in the end, and traffic always adds to 100%."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential, retry
from tests.support.azure_endpoint import Stage, first, hurry
from tests.support.azure_jobs import MARKS
from tests.support.azure_place import Place, local_azure_at

pytestmark = MARKS


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Iterator[Control]:
    with pytest.MonkeyPatch.context() as patched, local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        hurry(patched)
        patched.setattr(retry, "FIRST_WAIT", 0.02)
        patched.setattr(retry, "LONGEST_WAIT", 0.1)
        credential.forget()
        yield found


@pytest.fixture(scope="module")
def stage(control: Control, tmp_path_factory) -> Stage:
    return first(Place(control, tmp_path_factory.mktemp("home")))


def test_ten_at_once_of_one_model_make_one_deployment(stage: Stage):
    model = stage.registered("ten-of-one")
    stage.control.forget_requests()
    with ThreadPoolExecutor(10) as pool:
        records = list(pool.map(lambda _: stage.host().deploy(model, stage.place.log), range(10)))
    assert len(set(records)) == 1
    assert stage.serving() == (records[0].name, model.version)
    made = stage.control.requests(verb="PUT", match="/deployments/")
    assert [request["status"] for request in made] == [201]
    stage.whole()


def test_two_models_at_once_queue_and_one_serves(stage: Stage):
    models = [stage.registered("one-of-two"), stage.registered("two-of-two")]
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda model: stage.host().deploy(model, stage.place.log), models))
    assert stage.serving()[0] in {record.name for record in records}
    stage.whole()


def test_an_endpoint_that_two_make_at_once_and_whose_answer_is_lost_is_one(control: Control, tmp_path):
    made = Stage(Place(control, tmp_path, "twins"))
    made.place.deploy()
    control.forget_requests()
    control.fail_next("PUT /onlineEndpoints/", "dropped")
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda _: made.host().ensure_endpoint(made.place.log), range(2)))
    assert len(set(records)) == 1
    assert [e.split("/")[-1] for e in made.place.existing() if "/onlineEndpoints/" in e] == [records[0].name]
    assert made.host().find(records[0].digest) == records[0]


def test_runs_of_two_homes_wait_for_each_other(stage: Stage, control: Control, tmp_path):
    other = Stage(Place(control, tmp_path, stage.place.name))
    other.place.deploy()
    model = stage.registered("two-homes")
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda each: each.host().deploy(model, each.place.log), [stage, other]))
    assert len(set(records)) == 1
    assert stage.serving() == (records[0].name, model.version)
    made = [r for r in stage.control.requests(verb="PUT", match="/deployments/") if records[0].name in r["path"]]
    assert [request["status"] for request in made] == [201]
    stage.whole()


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_a_third_of_the_calls_failing_it_ends_well(stage: Stage, seed):
    model = stage.registered(f"stormy-{seed}")
    stage.control.hold_seconds(0.1)
    stage.control.fail_randomly(0.3, seed)
    try:
        stage.host().ensure_endpoint(stage.place.log)
        record = stage.host().deploy(model, stage.place.log)
        key = stage.host().key()
    finally:
        stage.control.clear_faults()
    assert stage.serving() == (record.name, model.version)
    assert stage.ask(key=key).status_code == 200
    stage.whole()
    stage.control.forget_requests()
    assert stage.host().deploy(model, stage.place.log) == record
    assert stage.place.writes() == []


@pytest.mark.parametrize("write", ["PUT /onlineEndpoints/ /deployments/", "DELETE /deployments/"])
def test_an_answer_that_is_lost_is_looked_for(stage: Stage, write):
    model = stage.registered(f"lost-{write.split()[0].lower()}")
    stage.control.fail_next(write, "dropped")
    try:
        record = stage.host().deploy(model, stage.place.log)
    finally:
        stage.control.clear_faults()
    assert stage.serving() == (record.name, model.version)
    stage.whole()
