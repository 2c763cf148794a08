"""Fixtures: one local Azure per test module, in another process with shortened waits, or in this process."""

from collections.abc import Iterator

import pytest

from azure_emulator.process import LocalAzure, local_azure
from azure_emulator.testing.in_process import InProcessEmulator, in_process_emulator
from azure_emulator.testing.requirements import azurite_or_skip


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAzure]:
    azurite_or_skip()
    with local_azure(tmp_path_factory.mktemp("azure"), scale=0.2) as found:
        found.control.hold_seconds(0.2)
        yield found


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcessEmulator]:
    azurite_or_skip()
    with in_process_emulator(tmp_path_factory.mktemp("inside")) as found:
        yield found
