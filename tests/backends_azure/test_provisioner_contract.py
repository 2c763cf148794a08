"""What every Provisioner keeps to, on a laptop and on Azure."""

from collections.abc import Iterator

import pytest

from phi_assets.backends.azure import compute, tokens
from phi_assets.backends.local.provisioner import LocalProvisioner
from phi_assets.backends.ports import Provisioner
from tests.backends_azure.place import Place, local_azure_at

STEPS = ("ensure_workspace", "ensure_compute", "ensure_environment")


@pytest.fixture(scope="module", params=["local", pytest.param("azure", marks=pytest.mark.azure)])
def provisioner(request, tmp_path_factory) -> Iterator[Provisioner]:
    if request.param == "local":
        yield LocalProvisioner(state=str(tmp_path_factory.mktemp("state")))
        return
    with local_azure_at(tmp_path_factory.mktemp("azure")) as control, pytest.MonkeyPatch.context() as patched:
        patched.setattr(compute, "POLL_SECONDS", 0.05)
        tokens.forget()
        place = Place(control, tmp_path_factory.mktemp("home"), "contract")
        place.deploy()
        yield place.resources["provisioner"]


@pytest.mark.parametrize("step", STEPS)
def test_what_was_ensured_is_the_same_a_second_time_and_is_found(provisioner, step):
    made = getattr(provisioner, step)()

    assert getattr(provisioner, step)() == made
    assert provisioner.find(made.digest) == made


def test_the_three_are_known_by_digests_of_their_own(provisioner):
    assert len({getattr(provisioner, step)().digest for step in STEPS}) == 3


def test_what_nobody_made_is_not_found_and_a_reason_is_given(provisioner):
    assert provisioner.find("0" * 64) is None
    assert provisioner.why_gone("0" * 64) == "what was made is gone"


def test_the_packages_of_the_environment_are_compared_with_the_lock(provisioner):
    assert provisioner.differing_packages() == []
