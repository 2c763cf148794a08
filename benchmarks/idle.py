"""CPU of everything that `phi dev` starts on an idle home, beside `dagster dev` on one asset without sensors.

python -m benchmarks.idle folder [seconds]     # the folder of `python -m benchmarks.ticks folder`
"""

import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.ticks import settings_of
from phi_assets.instance.server import free_port, take_signals
from phi_assets.records import DatasetVersion, ModelVersion, Record

SETTLE_SECONDS = 75  # everything is loaded, and every sensor has ticked
PEER = "import dagster as dg\n\n\n@dg.asset\ndef one(): ...\n"
KINDS = {
    "dagster._daemon": "daemon",
    "dagster-daemon": "daemon",
    "dagster_webserver": "webserver",
    "dagster-webserver": "webserver",
    "code-server start": "code server's proxy",
    "grpc": "code server",
}


def start(command: list[str], folder: Path, environment: dict[str, str]) -> psutil.Process:
    """Start servers whose output goes to a file in the folder."""
    with (folder / "idle.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, preexec_fn=take_signals
        )
    return psutil.Process(process.pid)


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def cpu(process: psutil.Process) -> dict[psutil.Process, float]:
    """Return the CPU seconds of each process, with those of its ended children."""
    spent = {}
    for each in family(process):
        try:
            spent[each] = sum(each.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return spent


def kind_of(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    return next((kind for part, kind in KINDS.items() if part in words), "dagster dev")


def end(process: psutil.Process) -> None:
    everyone = family(process)
    process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(everyone, timeout=20)
    for each in alive:
        each.kill()


def train_on_newest(records: Path) -> None:
    """Let the model of the home be one of its newest dataset, so that nothing is left to do."""
    dataset, model = (Record.load(records / f"{name}.json") for name in ("chat_dataset", "fine_tuned_model"))
    assert isinstance(dataset, DatasetVersion)
    assert isinstance(model, ModelVersion)
    trained = dataclasses.replace(model, dataset_digest=dataset.digest)
    (records / "fine_tuned_model.json").write_text(trained.to_json(), encoding="utf-8")


def main(folder: Path, seconds: float) -> None:
    """Print the share of a core of each process, in per cent, and the sums."""
    with tempfile.TemporaryDirectory() as made:
        peer = Path(made)
        (peer / "one.py").write_text(PEER)
        (peer / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        train_on_newest(folder / "local" / "records")
        variables = {**settings_of(folder), "PHI_WEBHOOK": "", "PHI_UI_PORT": str(free_port(3600))}
        port = str(free_port(3500))
        dev = [sys.executable, "-m", "dagster", "dev", "-f", str(peer / "one.py"), "-h", "127.0.0.1", "-p", port]
        phi = [sys.executable, "-m", "phi_assets.cli.main", "dev"]
        running = {
            "dagster dev, one asset": start(dev, peer, {"DAGSTER_HOME": made}),
            "phi dev": start(phi, folder, variables),
        }
        try:
            time.sleep(SETTLE_SECONDS)
            before = {name: cpu(process) for name, process in running.items()}
            time.sleep(seconds)
            for name, process in running.items():
                after = cpu(process)
                shares = {each: 100 * (after[each] - before[name].get(each, 0.0)) / seconds for each in after}
                print(f"{name:<24}{sum(shares.values()):>6.2f}% of a core")
                for each, share in shares.items():
                    print(f"    {kind_of(each):<20}{share:>6.2f}%")
        finally:
            for process in running.values():
                end(process)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), float(sys.argv[2]) if len(sys.argv) > 2 else 180)
