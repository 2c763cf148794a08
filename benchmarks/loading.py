"""Loading the definitions, against importing Dagster alone: process by process, turn by turn.

python benchmarks/loading.py [pairs]
"""

import statistics
import subprocess
import sys
import time

PEER = "import dagster"
OURS = "from phi_assets.definitions import definitions; definitions()"


def seconds(code: str) -> float:
    """Wall time of a Python process that runs the code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main(pairs: int) -> None:
    """Print the medians and the ratio of each pair."""
    for code in (PEER, OURS):
        seconds(code)
    found = [(seconds(PEER), seconds(OURS)) for _ in range(pairs)]
    ratios = sorted(ours / peer for peer, ours in found)
    print(f"{'what':<24}{'median seconds':>16}")
    print(f"{'import dagster':<24}{statistics.median(peer for peer, _ in found):>16.2f}")
    print(f"{'loading our definitions':<24}{statistics.median(ours for _, ours in found):>16.2f}")
    print(f"ratio, pair by pair: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
