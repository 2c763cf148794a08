"""What holds for every test: no setting of the person who runs them, and one thread each, for two run side by side."""

import os

import pytest

for name in [name for name in os.environ if name.startswith("PHI_")]:
    del os.environ[name]
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first, and those of milliseconds last: so the workers end together."""
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in ("timeout", "azure", "integration")])
