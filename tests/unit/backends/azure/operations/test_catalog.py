"""The catalog of a project on Azure before there is a container, and for a person who has no role on it yet."""

import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import USER
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.operations.asset_catalog import AzureCatalog
from phi_assets.ports.catalog import Materialised, Verdict
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()
QUOTA = Materialised("gpu_quota", "q1", "c1", {}, {}, "r1", 1.0)
ENOUGH = Verdict("gpu_quota", "q1", "enough_quota", True, "enough", {}, "rules", 1.0)
ROLE = "Storage Blob Data Contributor"


@pytest.fixture
def place(control: Control, tmp_path) -> Place:
    credential.forget()
    return Place(control, tmp_path / "first", next(NAMES))


def catalog(place: Place) -> AzureCatalog:
    return place.resources["catalog"]


def test_what_is_made_before_the_deployment_counts_here_and_is_sent_after_it(place, tmp_path):
    elsewhere = catalog(Place(place.control, tmp_path / "second", place.name))
    catalog(place).put(QUOTA)
    catalog(place).judge([ENOUGH])
    assert catalog(place).latest("gpu_quota") == QUOTA
    assert catalog(place).verdicts("gpu_quota", "q1") == {"enough_quota": ENOUGH}

    place.deploy()
    assert elsewhere.materialisations() == {}
    catalog(place).send()

    assert elsewhere.materialisations() == {"gpu_quota": QUOTA}
    assert elsewhere.verdicts("gpu_quota", "q1") == {"enough_quota": ENOUGH}
    place.control.forget_requests()
    catalog(place).send()
    assert place.control.requests() == []


def test_who_has_no_role_yet_is_told_at_once_and_keeps_what_they_made(place):
    place.deploy()
    roles = [role for role in place.control.roles(USER) if role["role"] == ROLE]
    for role in roles:
        place.control.take_role(role["id"])
    try:
        with pytest.raises(AzureRefused, match="missing role"):
            catalog(place).materialisations()
        catalog(place).put(QUOTA)
        assert catalog(place).latest("gpu_quota") == QUOTA
    finally:
        for role in roles:
            place.control.give_role(USER, ROLE, role["scope"])

    catalog(place).wait_until_readable(place.log)

    catalog(place).put(Materialised("base_model", "b1", "c1", {}, {}, "r1", 2.0))
    assert set(catalog(place).materialisations()) == {"gpu_quota", "base_model"}
    assert not list((place.settings.state / "catalog").rglob("*.json"))


def test_a_catalog_with_warm_caches_is_one_request(place):
    place.deploy()
    for name in ("one", "two", "three"):
        catalog(place).put(Materialised(name, "d1", "c1", {}, {}, "r1", 1.0))
    assert len(catalog(place).materialisations()) == 3
    place.control.forget_requests()

    assert len(catalog(place).materialisations()) == 3

    assert [each["verb"] for each in place.control.requests()] == ["GET"]
