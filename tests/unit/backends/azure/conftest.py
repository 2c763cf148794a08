"""A local Azure for each test file, and the endpoint on it that the tests of one file share."""

from collections.abc import Iterator

import pytest

from azure_emulator.control import Control
from phi_assets.backends.azure.client import credential
from tests.support.azure_endpoint import Stage, first, hurry
from tests.support.azure_place import Place, local_azure_at


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> Iterator[Control]:
    with local_azure_at(tmp_path_factory.mktemp("azure")) as found:
        credential.forget()
        yield found


@pytest.fixture(scope="module")
def stage(control: Control, tmp_path_factory) -> Iterator[Stage]:
    """An endpoint with its first deployment, of the model of version 1."""
    with pytest.MonkeyPatch.context() as patched:
        hurry(patched)
        yield first(Place(control, tmp_path_factory.mktemp("home")))


@pytest.fixture
def serving(stage: Stage) -> Iterator[str]:
    """Who serves before the test; afterwards no fault is left."""
    stage.place.said.clear()
    yield stage.serving()[0]
    stage.control.clear_faults()
