"""Which deployment gets the traffic: the proven one, whatever an earlier run left and in whatever state it is."""

from types import SimpleNamespace

import pytest
from dagster._utils.error import serializable_error_info_from_exc_info

from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.clients import AzureClients
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.serving import deployment_spec, image
from phi_assets.backends.azure.serving.blue_green import DeploymentFailed
from phi_assets.backends.azure.storage import blob, blob_lease
from phi_assets.backends.azure.storage.blob_lease import LeaseLost
from phi_assets.records import Deployment
from tests.support.azure_endpoint import Stage, asked_all_the_time
from tests.support.azure_jobs import MARKS, until
from tests.unit.backends.azure.serving.test_endpoint_killed import killed_at

pytestmark = MARKS


def deployment(stage: Stage, name: str) -> str:
    return f"{stage.endpoint.id}/deployments/{name}"


@pytest.mark.parametrize("good", [False, True], ids=["answers wrongly", "answers right"])
def test_a_leftover_that_was_never_proven_gets_none_of_the_proven_ones_traffic(stage: Stage, good):
    model = stage.registered(f"proven-{good}")
    proven = stage.host().deploy(model, stage.place.log).name
    killed_at(stage, "PUT deployment", stage.registered(f"leftover-{good}"))
    until(lambda: (state := stage.endpoint.at_rest()) and len(state.deployments) == 2)
    before = len(stage.control.traffic_history(stage.endpoint.name))
    if good:
        stage.host().deploy(model, stage.place.log)
    else:
        stage.control.deployment_fault("wrong_answer", proven, text="nonsense")
        with pytest.raises(DeploymentFailed, match="it served before, and is unchanged"):
            stage.host().deploy(model, stage.place.log)
        # The fault is of what runs now: another proven model takes its place.
        state = stage.endpoint.at_rest()
        assert state is not None
        assert state.alone(proven)
        stage.host().deploy(stage.registered(f"after-{good}"), stage.place.log)
        return
    assert stage.serving()[0] == proven
    assert stage.control.traffic_history(stage.endpoint.name)[before:] in ([], [{proven: 100}])


@pytest.mark.parametrize("step", ["a share", "all traffic"])
def test_what_a_killed_run_gave_traffic_to_gives_it_back_to_the_proven_one(stage: Stage, serving, step):
    model = stage.registered(f"given-{step.replace(' ', '-')}")
    killed_at(stage, step, model)
    before = len(stage.control.traffic_history(stage.endpoint.name))

    other = stage.registered(f"other-{step.replace(' ', '-')}")
    record = stage.host().deploy(other, stage.place.log)

    assert stage.control.traffic_history(stage.endpoint.name)[before] == {serving: 100}
    assert stage.serving() == (record.name, other.version)
    stage.whole()


def test_a_trial_that_was_cut_short_is_made_again(stage: Stage, serving):
    model = stage.registered("tried-again")
    killed_at(stage, "a share", model)
    record = stage.host(canary_share=5).deploy(model, stage.place.log)
    assert {serving: 95, record.name: 5} in stage.control.traffic_history(stage.endpoint.name)
    assert stage.serving() == (record.name, model.version)


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_who_has_traffic_keeps_it_whatever_azure_says_until_the_new_one_takes_over(stage: Stage, serving, state):
    stage.control.change(deployment(stage, serving), provisioningState=state)
    model = stage.registered(f"instead-of-{state}")
    with asked_all_the_time(stage, a_second=10) as answers:
        record = stage.host().deploy(model, stage.place.log)
    assert {answer.status_code for answer in answers} == {200}
    assert stage.serving() == (record.name, model.version)
    stage.whole()


def test_the_wanted_one_that_is_failed_and_has_traffic_is_mended_where_it_stands(stage: Stage, serving):
    model = stage.registered("mended")
    record = stage.host().deploy(model, stage.place.log)
    stage.control.change(deployment(stage, record.name), provisioningState="Failed")
    assert stage.host().find(record.digest) is None
    with asked_all_the_time(stage, a_second=10) as answers:
        assert stage.host().deploy(model, stage.place.log) == record
    assert {answer.status_code for answer in answers} == {200}
    assert stage.serving()[0] == record.name
    stage.whole()


def test_a_deployment_beside_another_is_missed_and_is_alone_afterwards(stage: Stage, serving):
    model = stage.registered("alone")
    record = stage.host().deploy(model, stage.place.log)
    body = stage.control.resource(deployment(stage, record.name))
    assert body
    stage.control.plant(deployment(stage, "by-hand"), {**body, "id": deployment(stage, "by-hand"), "name": "by-hand"})
    assert stage.host().find(record.digest) is None
    assert stage.host().deploy(model, stage.place.log) == record
    assert stage.host().find(record.digest) == record
    assert stage.serving()[0] == record.name


def test_a_deletion_that_leaves_the_deployment_there_is_a_failure(stage: Stage, serving, monkeypatch):
    send = AzureClients.send

    def ignored(clients: AzureClients, verb: str, address: str, body=None):
        return SimpleNamespace(headers={}) if verb == "DELETE" else send(clients, verb, address, body)

    monkeypatch.setattr(AzureClients, "send", ignored)
    with pytest.raises(AzureRefused, match=f"deployment {serving} could not be deleted"):
        stage.endpoint.remove(serving)


def test_nothing_is_written_by_who_is_not_alone_any_more(stage: Stage, serving):
    def lost() -> None:
        raise LeaseLost(description="the lease was lost")

    endpoint = stage.endpoint
    endpoint.still_alone = lost
    stage.control.forget_requests()
    for write in (
        lambda: endpoint.put("key", {}),
        lambda: endpoint.put_deployment("other", {}),
        lambda: endpoint.remove(serving),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert stage.place.writes() == []


def test_a_lease_that_another_took_is_lost_at_once(stage: Stage, monkeypatch, tmp_path):
    monkeypatch.setattr(blob_lease, "RENEW_SECONDS", 0.05)
    blobs = blob.WorkspaceBlobs(stage.place.clients, stage.place.log, 0.5)
    with blob_lease.only_holder(blobs, "taken", "what was taken", minutes=1) as lease:
        lease.require()
        their = blobs.blob("phi/locks/taken")
        from azure.storage.blob import BlobLeaseClient

        BlobLeaseClient(their).break_lease(lease_break_period=0)
        theirs = their.acquire_lease(15)

        def is_lost() -> bool:
            try:
                lease.require()
            except LeaseLost:
                return True
            return False

        until(is_lost, 20)
        theirs.release()


def test_a_failure_bears_no_word_of_the_container_that_is_not_masked(stage: Stage, serving):
    with pytest.raises(DeploymentFailed) as failed:
        stage.host().deploy(stage.registered("broken-loudly"), stage.place.log)
    told = serializable_error_info_from_exc_info((failed.type, failed.value, failed.tb))
    everything = f"{told}{told.cause}{told.context}{failed.value.description}"
    assert "the weights are broken" in everything
    assert "abcdefghijklmnopqrstuvwxyz" not in everything + "".join(stage.place.said)


def test_what_stands_is_priced_by_its_own_machines_and_a_price_that_is_not_known_is_said(
    stage: Stage, serving, monkeypatch
):
    record = stage.host().deploy(stage.registered("priced"), stage.place.log)
    other = stage.host(vm_size="Standard_E8s_v3", instances=3)
    assert other.find(record.digest) == record
    other.stop(stage.place.log)
    assert "6.05 dollars a day" in stage.place.said[-1]

    monkeypatch.setattr(prices, "MACHINES", {})
    found = stage.host().find(record.digest)
    assert isinstance(found, Deployment)
    assert (found.name, found.dollars_a_day) == (record.name, 0)
    stage.host().stop(stage.place.log)
    assert "an unknown price" in stage.place.said[-1]
    assert stage.host().status()["alive"]


@pytest.mark.parametrize("part", ["LIVENESS", "READINESS"])
def test_another_probe_is_another_deployment(stage: Stage, monkeypatch, part):
    wanted = stage.host()._wanted(stage.registered("probed"))
    before = wanted.name
    monkeypatch.setattr(deployment_spec, part, {**getattr(deployment_spec, part), "timeout": "PT9S"})
    assert wanted.name != before


def test_the_name_says_everything_that_azure_is_told(stage: Stage, monkeypatch):
    wanted = stage.host()._wanted(stage.registered("named"))
    before = wanted.name
    assert stage.host(concurrency=40)._wanted(wanted.model).name != before
    assert stage.host(vm_size="STANDARD_e4S_v3")._wanted(wanted.model).name == before
    monkeypatch.setattr(deployment_spec, "SERVER_QUEUE", 99)
    assert wanted.name != before
    monkeypatch.undo()
    monkeypatch.setattr(image, "digest", lambda: "0" * 64)
    assert wanted.name != before
