"""For every test: no PHI_ variable of the shell, and one thread, because tests run in parallel."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from azure_emulator.process import LocalAzure

for name in [name for name in os.environ if name.startswith("PHI_")]:
    del os.environ[name]
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take minutes first and the fastest last, so that the workers end together."""
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("timeout", "azure", "integration")])


@pytest.fixture(scope="module")
def azure(tmp_path_factory) -> "Iterator[LocalAzure]":
    """A local Azure without delays for each test file."""
    from azure_emulator.process import local_azure
    from azure_emulator.testing.requirements import azurite_or_skip

    azurite_or_skip()
    with local_azure(tmp_path_factory.mktemp("azure"), scale=0.0) as found:
        yield found
