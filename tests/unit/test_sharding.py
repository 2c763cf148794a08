"""`--shard k/n` of tests/support/sharding.py: the parts are disjoint, together they are everything."""

import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from phi_assets.project import PROJECT
from tests.support import sharding

MARKED = "import pytest\n\n@pytest.mark.long\n{marker}\ndef test_long(): ...\n\ndef test_short(): ...\n"
MARKERS = ["@pytest.mark.timeout(900)", "@pytest.mark.integration", "@pytest.mark.azure", "", "", ""]


def collect(folder: Path, *options: str) -> list[str]:
    """Return the ids of the long tests that pytest would run in the folder."""
    done = pytest_in(folder, "-m", "long", "--collect-only", "-q", *options)
    assert done.returncode in (0, 5), done.stdout + done.stderr  # 5: no test is in this part
    return [line for line in done.stdout.splitlines() if "::" in line]


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.sharding", "-c", "pytest.ini", *options]
    path = {"PYTHONPATH": str(PROJECT), "PATH": "/usr/bin"}
    return subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files, each with a long test and one that is not."""
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    long\n    integration\n    azure\n")
    for number, marker in enumerate(MARKERS):
        (tmp_path / f"test_{number}.py").write_text(MARKED.format(marker=marker))
    return tmp_path


@pytest.mark.integration
def test_every_long_test_is_in_exactly_one_part(folder: Path):
    everything = collect(folder)
    parts = [collect(folder, "--shard", f"{number}/3") for number in (1, 2, 3)]

    assert len(everything) == len(MARKERS)
    assert sorted(test for part in parts for test in part) == sorted(everything)
    assert parts[0] == ["test_0.py::test_long"]  # its timeout outweighs the rest
    assert all(parts)


@pytest.mark.integration
def test_a_wrong_part_stops_pytest_with_what_to_write(folder: Path):
    done = pytest_in(folder, "--shard", "5/4")

    assert done.returncode == 4
    assert "'5/4' is not a shard; expected k/n with 1 <= k <= n, for example 1/4" in done.stderr


@pytest.mark.parametrize("text", ["x", "", "0/4", "5/4", "1/0", "1/", "-1/4", "1/4/2"])
def test_a_text_that_names_no_part_is_refused(text: str):
    with pytest.raises(ArgumentTypeError, match="expected k/n"):
        sharding.parse(text)


def test_the_assignment_does_not_depend_on_the_order_of_the_files():
    weights = {f"file{number}": float(number % 7) for number in range(40)}

    assigned = sharding.assign(weights, 4)

    assert assigned == sharding.assign(dict(reversed(weights.items())), 4)
    assert set(assigned) == set(weights)


def test_the_longest_files_are_spread_first():
    assert sharding.assign({"a": 1, "b": 5, "c": 4, "d": 3}, 2) == {"b": 1, "c": 2, "d": 2, "a": 1}
    assert set(sharding.assign({"a": 1}, 4).values()) == {1}
