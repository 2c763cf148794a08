"""Azure ML's quota against what training and the endpoint need, and the ceiling of a job's cost."""

import pytest

from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.client.names import endpoint_name
from phi_assets.backends.azure.infrastructure import quota_request
from phi_assets.backends.azure.infrastructure.prices import UnknownSize, ceiling_seconds, machine, price_per_hour
from phi_assets.backends.azure.infrastructure.quota import reserved
from tests.support.azure_place import Place, names

NAMES = names()
A100, ESV3, TOTAL = "standardNCADSA100v4Family", "standardESv3Family", "TotalDedicatedCores"


@pytest.fixture
def place(control, tmp_path, monkeypatch) -> Place:
    control.clear_faults()
    control.quota_verdict("grant")
    for family, vcpus in ((A100, 24), (ESV3, 16), (TOTAL, 40)):
        control.set_quota(family, vcpus)
    monkeypatch.setattr(quota_request, "POLL_SECONDS", 0.05)
    credential.forget()
    return Place(control, tmp_path, next(NAMES))


def verdicts(place: Place) -> dict[str, bool]:
    port = place.resources["compute_quota"]
    return {name: finding.passed for name, finding in port.judge(port.ensure(place.log)).items()}


def words(place: Place) -> str:
    port = place.resources["compute_quota"]
    return port.judge(port.ensure(place.log))["enough_quota"].description


@pytest.mark.azure
def test_exactly_what_is_needed_is_enough(place):
    assert verdicts(place) == {"enough_quota": True, "cost_within_ceiling": True}


@pytest.mark.guide("gpu-quota")
@pytest.mark.azure
@pytest.mark.parametrize(
    ("family", "vcpus", "named"),
    [
        (A100, 23, "Standard NCADSA100v4 Family Cluster Dedicated vCPUs in eastus2: 24 vCPUs needed, limit 23"),
        (ESV3, 15, "Standard ESv3 Family Cluster Dedicated vCPUs in eastus2: 16 vCPUs needed, limit 15"),
        (TOTAL, 39, "Total Cluster Dedicated Regional vCPUs in eastus2: 40 vCPUs needed, limit 39"),
    ],
)
def test_too_little_names_the_quota_and_where_to_ask(place, family, vcpus, named):
    place.control.set_quota(family, vcpus)

    assert named in words(place)
    assert "https://portal.azure.com/#view/Microsoft_Azure_Capacity" in words(place)
    port = place.resources["compute_quota"]
    assert port.find(port.ensure(place.log).digest) is None


@pytest.mark.guide("cpu-path")
@pytest.mark.azure
def test_on_the_cpu_path_no_gpu_quota_is_needed(place):
    cpu = Place(place.control, place.home, place.name, {"PHI_AZURE_VM_SIZE": "Standard_E16s_v3"})
    for family, vcpus in ((A100, 0), (ESV3, 32), (TOTAL, 32)):
        place.control.set_quota(family, vcpus)
    assert verdicts(cpu) == {"enough_quota": True, "cost_within_ceiling": True}

    place.control.set_quota(ESV3, 31)
    assert "Standard ESv3 Family Cluster Dedicated vCPUs in eastus2: 32 vCPUs needed, limit 31" in words(cpu)


@pytest.mark.azure
def test_another_machine_measures_what_it_did_not_measure_and_asks_for_nothing(place, tmp_path):
    quota = place.resources["compute_quota"].ensure(place.log)
    elsewhere = Place(place.control, tmp_path / "elsewhere", place.name).resources["compute_quota"]
    place.control.forget_requests()

    assert elsewhere.find(quota.digest) == quota
    assert elsewhere.find("0" * 64) is None
    assert place.writes() == []
    place.control.forget_requests()
    assert elsewhere.find(quota.digest) == quota
    assert place.control.requests() == []


@pytest.mark.azure
def test_what_was_enough_is_found_without_a_call(place):
    quota = place.resources["compute_quota"].ensure(place.log)
    place.control.forget_requests()

    assert place.resources["compute_quota"].find(quota.digest) == quota
    assert place.control.requests() == []


@pytest.mark.azure
def test_the_digest_is_of_the_need_and_not_of_what_is_allowed(place):
    enough = place.resources["compute_quota"].ensure(place.log)
    place.control.set_quota(A100, 0)

    assert place.resources["compute_quota"].ensure(place.log).digest == enough.digest


@pytest.mark.azure
def test_nothing_is_requested_unless_a_setting_says_so(place):
    place.control.set_quota(A100, 0)
    place.control.forget_requests()

    assert not verdicts(place)["enough_quota"]
    assert place.control.requests(service="quota", verb="PUT") == []


@pytest.mark.guide("gpu-quota")
@pytest.mark.azure
def test_a_request_that_is_granted_passes_the_check(place):
    place.others["PHI_AZURE_REQUEST_QUOTA"] = "true"
    place.control.set_quota(A100, 0)

    assert verdicts(place)["enough_quota"]
    assert place.control.requests(service="quota", verb="PUT", match=f"quotas/{A100}")
    assert f"requested 24 vCPUs of {A100}" in place.said


@pytest.mark.azure
def test_a_request_that_is_denied_fails_the_check_with_azures_reason(place):
    place.others["PHI_AZURE_REQUEST_QUOTA"] = "true"
    place.control.set_quota(A100, 0)
    place.control.quota_verdict("refuse")

    said = words(place)
    assert "denied: The request was not approved" in said
    assert "PHI_AZURE_REQUEST_QUOTA" not in said


@pytest.mark.azure
def test_a_request_that_waits_for_a_person_is_filed_once(place, monkeypatch):
    monkeypatch.setattr(quota_request, "MINUTES", 0.005)
    place.others["PHI_AZURE_REQUEST_QUOTA"] = "true"
    place.control.set_quota(A100, 0)
    place.control.quota_verdict("wait")
    place.control.forget_requests()

    assert "not decided yet" in words(place)
    assert "not decided yet" in words(place)
    assert len(place.control.requests(verb="PUT", match="Microsoft.Quota/quotas")) == 1


@pytest.mark.azure
def test_a_region_that_does_not_exist_names_the_setting(place):
    place.others["PHI_AZURE_LOCATION"] = "nowhere"

    with pytest.raises(AzureRefused, match="PHI_AZURE_LOCATION"):
        place.resources["compute_quota"].ensure(place.log)


@pytest.mark.azure
def test_a_job_that_may_cost_more_than_the_ceiling_fails_the_check(place):
    place.others["PHI_MAX_TRAIN_MINUTES"] = "600"
    port = place.resources["compute_quota"]

    found = port.judge(port.ensure(place.log))["cost_within_ceiling"]

    assert not found.passed
    assert "PHI_AZURE_MAX_JOB_COST is 20" in found.description


@pytest.mark.guide("serving-quota")
def test_a_deployment_takes_a_fifth_more_in_whole_machines_and_an_a100_no_more():
    assert reserved("Standard_E4s_v3", 1) == 2 * 4
    assert reserved("Standard_E4s_v3", 5) == 6 * 4
    assert reserved("Standard_NC24ads_A100_v4", 1) == 24


def serve(place: Place, size: str, instances: int) -> None:
    """A deployment of the place's own endpoint, as another run made it."""
    endpoint = f"{place.id('ml_workspace')}/onlineEndpoints/{endpoint_name(place.clients.account)}"
    place.control.plant(endpoint, {"location": "eastus2", "properties": {"authMode": "Key"}})
    properties = {"instanceType": size, "endpointComputeType": "Managed", "provisioningState": "Succeeded"}
    body = {"location": "eastus2", "sku": {"name": "Default", "capacity": instances}, "properties": properties}
    place.control.plant(f"{endpoint}/deployments/blue", body)


@pytest.mark.guide("serving-quota")
@pytest.mark.azure
@pytest.mark.parametrize(
    ("living", "instances", "family", "needed"),
    [
        (("Standard_E4s_v3", 4), "1", ESV3, (5 + 2) * 4),
        (("Standard_E4s_v3", 1), "4", ESV3, (2 + 5) * 4),
        (("Standard_DS3_v2", 1), "1", ESV3, 2 * 4),
        (("Standard_DS3_v2", 1), "1", TOTAL, 24 + (2 + 2) * 4),
    ],
)
def test_an_endpoint_needs_room_for_the_deployment_that_lives_and_the_next(place, living, instances, family, needed):
    for quota in (A100, ESV3, TOTAL):
        place.control.set_quota(quota, 300)
    place.deploy()
    serve(place, *living)
    next_one = Place(place.control, place.home, place.name, {"PHI_AZURE_ENDPOINT_INSTANCES": instances})

    place.control.set_quota(family, needed)
    exactly = verdicts(next_one)["enough_quota"]
    place.control.set_quota(family, needed - 1)
    short = words(next_one)
    place.control.delete(place.group)  # its machines would count as somebody else's in the next test

    assert exactly
    assert f"{needed} vCPUs needed, limit {needed - 1}" in short


def test_a_ceiling_is_seconds_of_a_machine():
    price = price_per_hour("standard_nc24ads_a100_v4", "eastus2")

    assert price == 3.673
    assert ceiling_seconds(price, price) == 3600
    assert ceiling_seconds(20, price) == int(20 / price * 3600)


def test_an_unknown_machine_names_the_known_ones():
    with pytest.raises(UnknownSize, match="Standard_E16s_v3"):
        machine("Standard_Z1")
