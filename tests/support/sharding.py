"""A pytest plugin: `--shard k/n` runs the k-th of n parts of the selected tests, the same on every machine.

A file is never split, because module-scoped fixtures are expensive. The files are assigned by their estimated seconds:
the longest first, each to the part with the least so far.
"""

import re
from argparse import ArgumentTypeError
from collections import defaultdict
from collections.abc import Mapping

import pytest

SECONDS = {"integration": 30, "azure": 20}  # estimates for one test; the first marker that it has counts
OTHERWISE = 5


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run only part k of n of the selected tests, for example 1/4; the unit of a part is a file"
    parser.addoption("--shard", type=parse, metavar="k/n", help=text)


@pytest.hookimpl(trylast=True)  # after `-m` and `-k` have deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not (shard := config.getoption("--shard")):
        return
    number, count = shard
    assigned = assign(weights(items), count)
    deselected = [item for item in items if assigned[file_of(item)] != number]
    items[:] = [item for item in items if assigned[file_of(item)] == number]
    config.hook.pytest_deselected(items=deselected)


def parse(text: str) -> tuple[int, int]:
    """Return k and n of "k/n". Raises ArgumentTypeError, which pytest shows, unless 1 <= k <= n."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise ArgumentTypeError(f"{text!r} is not a shard; expected k/n with 1 <= k <= n, for example 1/4")
    return number, count


def assign(weights: Mapping[str, float], count: int) -> dict[str, int]:
    """Return the part, 1 to `count`, of each file: longest processing time first, ties by name."""
    loads = dict.fromkeys(range(1, count + 1), 0.0)
    assigned: dict[str, int] = {}
    for file in sorted(weights, key=lambda file: (-weights[file], file)):
        assigned[file] = min(loads, key=lambda number: (loads[number], number))
        loads[assigned[file]] += weights[file]
    return assigned


def weights(items: list[pytest.Item]) -> dict[str, float]:
    """Return the estimated seconds of each file: its tests' estimates and its longest `timeout`.

    A timeout covers a module-scoped fixture, which is paid for once, and is not a good estimate for each test.
    """
    found: defaultdict[str, float] = defaultdict(float)
    timeouts: defaultdict[str, float] = defaultdict(float)
    for item in items:
        file = file_of(item)
        found[file] += next((SECONDS[name] for name in SECONDS if item.get_closest_marker(name)), OTHERWISE)
        if marker := item.get_closest_marker("timeout"):
            timeouts[file] = max(timeouts[file], float(marker.args[0]))
    return {file: seconds + timeouts[file] for file, seconds in found.items()}


def file_of(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]
