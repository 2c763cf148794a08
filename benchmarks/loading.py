"""Loading the definitions, against importing Dagster alone: process by process, turn by turn, in seconds of CPU.

python benchmarks/loading.py [pairs]
"""

import resource
import statistics
import subprocess
import sys

PEER = "import dagster"
OURS = "from phi_assets.definitions import definitions; definitions()"


def cpu_seconds(code: str) -> float:
    """CPU time, user and system, of a Python process that runs the code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(pairs: int) -> None:
    """Print the medians, their difference, and the ratio of each pair."""
    for code in (PEER, OURS):
        cpu_seconds(code)  # warm: the files are in memory, and compiled
    found = [(cpu_seconds(PEER), cpu_seconds(OURS)) for _ in range(pairs)]
    ratios = sorted(ours / peer for peer, ours in found)
    beyond = statistics.median(ours - peer for peer, ours in found)
    print(f"{'what':<34}{'median CPU seconds':>20}")
    print(f"{'import dagster':<34}{statistics.median(peer for peer, _ in found):>20.2f}")
    print(f"{'loading our definitions':<34}{statistics.median(ours for _, ours in found):>20.2f}")
    print(f"{'loading, beyond import dagster':<34}{beyond:>20.2f}")
    print(f"ratio, pair by pair: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
