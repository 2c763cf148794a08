r"""Fine-tune on the local disk of a compute node, and copy checkpoints and results to a store that outlives the node.

    python training_code/cloud.py --store DIR --config laptop --base_model DIR ...

All other options are passed to fine_tune.py, whose output folder is a local one. The store is mounted object storage:
each file is written whole and once, none is renamed, and the file that marks completeness comes last. When started
again on another node, training resumes from the newest checkpoint in the store.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

if not __package__:
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    __package__ = here.name

from . import checkpoints, ranks, results
from .checkpoints import MARKER
from .errors import EXIT_REFUSED, TrainingRefused
from .results import PARTS, REPORT
from .settings import settings_from

PROGRAM = Path(__file__).with_name("fine_tune.py")
POLL_SECONDS = 1.0
CHECKPOINTS = ("checkpoints", "checkpoints/preference")  # of the conversations, and of preference training


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, copy to the store, and return fine_tune.py's exit code."""
    parser = argparse.ArgumentParser(description="Run fine_tune.py and store its results.", allow_abbrev=False)
    parser.add_argument("--store", type=Path, required=True, help="folder that receives the results")
    options, rest = parser.parse_known_args(arguments)
    if ranks.launched():
        print(
            "error: start cloud.py once, without a distributed launcher: it starts a process for each GPU", flush=True
        )
        return EXIT_REFUSED
    if finished(options.store, rest):
        print(f"{options.store} already holds the result of exactly this run: nothing to do", flush=True)
        return 0
    local = Path(tempfile.mkdtemp(prefix="training-"))
    try:
        for folder in CHECKPOINTS:
            restore(options.store / folder, local / folder)
        code = train(rest, local, lambda: [mirror(local / folder, options.store / folder) for folder in CHECKPOINTS])
        if code == 0:
            publish(local, options.store)
        return code
    finally:
        shutil.rmtree(local, ignore_errors=True)


def finished(store: Path, arguments: Sequence[str]) -> bool:
    """Whether the store already holds the result of exactly this run, from a node that was lost afterwards."""
    if not (store / REPORT).is_file():
        return False
    try:
        settings = settings_from([*arguments, f"--output_dir={store}"])
    except TrainingRefused:
        return False  # fine_tune.py reports the error
    return results.finished_report(store, checkpoints.fingerprint(settings)) is not None


def train(arguments: Sequence[str], local: Path, save: Callable[[], object]) -> int:
    """Run fine_tune.py and return its exit code; calls `save` periodically while it runs and once after it ends."""
    program = subprocess.Popen([sys.executable, str(PROGRAM), *arguments, f"--output_dir={local}"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: program.send_signal(received))
    last_warning = ""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(POLL_SECONDS)
        code = program.returncode
        try:
            save()
        except OSError as e:  # a temporary failure of the store loses checkpoints, not the training
            if str(e) != last_warning:
                last_warning = str(e)
                print(f"warning: could not copy checkpoints to the store: {e}", flush=True)
        if code is not None:
            return code if code >= 0 else 128 - code  # a signal, as a shell reports it


def restore(store: Path, local: Path) -> None:
    """Copy every complete checkpoint of the store to `local`, as if it had been written there."""
    for folder in sorted(store.glob("checkpoint-*")):
        if not (folder / MARKER).is_file():
            continue
        copy(folder, local / folder.name)
        state = local / folder.name / "trainer_state.json"
        values = json.loads(state.read_text(encoding="utf-8"))
        if values.get("best_model_checkpoint"):  # an absolute path on the previous node
            values["best_model_checkpoint"] = str(local / Path(values["best_model_checkpoint"]).name)
            state.write_text(json.dumps(values, indent=2), encoding="utf-8")
        print(f"found {folder.name} in the store", flush=True)


def mirror(local: Path, store: Path) -> None:
    """Make the store hold the complete checkpoints of `local`, copied oldest first, and no others."""
    complete = sorted((f for f in local.glob("checkpoint-*") if (f / MARKER).is_file()), key=step)
    for folder in complete:
        if not (store / folder.name / MARKER).is_file():
            try:
                copy(folder, store / folder.name)
            except FileNotFoundError:
                return  # training has just replaced it with a newer one, which the next call copies
    names = {folder.name for folder in complete}
    for folder in store.glob("checkpoint-*") if names else ():
        if folder.name not in names:
            checkpoints.remove(folder)


def publish(local: Path, store: Path) -> None:
    """Copy the results to the store, report.json last, and delete the checkpoints there."""
    (store / REPORT).unlink(missing_ok=True)
    for name in PARTS:
        source, target = local / name, store / name
        if target.is_dir():
            shutil.rmtree(target)
        if source.is_dir():
            copy(source, target)
        elif source.is_file() and name != REPORT:
            shutil.copyfile(source, target)
    shutil.copyfile(local / REPORT, store / REPORT)
    shutil.rmtree(store / "checkpoints", ignore_errors=True)


def copy(source: Path, target: Path) -> None:
    """Copy every file of `source` to `target`, a checkpoint's marker last."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: (path.name == MARKER, path)):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


if __name__ == "__main__":
    sys.exit(main())
