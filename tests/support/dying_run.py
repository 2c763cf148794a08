"""A training run in a subprocess that sends itself SIGKILL at a chosen moment.

The processes are forked from a server that has imported the libraries and computed nothing, which saves seconds each.
They draw no pictures: these take a quarter of so short a run, and a resumed run does not depend on them.
"""

import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training_code.ranks import variables
from training_code.settings import Settings, build

LIBRARIES = [
    "torch",
    "transformers.models.phi3.modeling_phi3",
    "trl.trainer.sft_trainer",
    "peft",
    "datasets",
    "matplotlib.figure",
]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: Any, name: str, when: Callable[[Any], bool]) -> None:
    """Replace `owner.name`: it kills the process when `when` holds for its first argument."""
    original = getattr(owner, name)

    def replaced(first: Any, *rest: Any, **given: Any) -> Any:
        if when(first):
            die()
        return original(first, *rest, **given)

    setattr(owner, name, replaced)


def at_step(step: int) -> Callable[[Any], bool]:
    return lambda trainer: trainer.state.global_step == step


def between_steps() -> None:
    from training_code.trainer import Trainer

    before(Trainer, "training_step", at_step(4))


def in_the_evaluation() -> None:
    from training_code.trainer import Trainer

    before(Trainer, "prediction_step", at_step(7))


def while_the_optimizer_is_written() -> None:
    import torch

    original = torch.save

    def half(value: Any, path: str) -> None:
        original(value, path)
        if path.endswith("checkpoint-4/optimizer.pt"):
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    torch.save = half


def before_the_random_state_is_written() -> None:
    from training_code.trainer import Trainer

    before(Trainer, "_save_rng_state", at_step(4))


def before_the_mark() -> None:
    from training_code import checkpoints

    before(checkpoints, "mark_complete", lambda folder: folder.name == "checkpoint-5")


def while_old_ones_are_removed() -> None:
    from training_code import checkpoints

    original = checkpoints.shutil.rmtree

    def half(path: Path, **given: Any) -> None:
        if path.name == "checkpoint-2":
            (path / "optimizer.pt").unlink()
            die()
        original(path, **given)

    checkpoints.shutil.rmtree = half  # type: ignore[assignment]


def after_the_last_step() -> None:
    from training_code import results

    before(results, "staging", lambda _: True)


def while_the_model_is_written() -> None:
    from training_code import results

    before(results, "base_dtype", lambda _: True)


def while_the_results_are_moved() -> None:
    moved: list[Path] = []
    original = Path.rename

    def counted(self: Path, target: Path) -> Path:
        if self.parent.name == ".partial":
            moved.append(self)
            if len(moved) == 3:
                die()
        return original(self, target)

    Path.rename = counted  # type: ignore[method-assign]


MOMENTS: dict[str, Callable[[], None]] = {
    f.__name__: f
    for f in (
        between_steps,
        in_the_evaluation,
        while_the_optimizer_is_written,
        before_the_random_state_is_written,
        before_the_mark,
        while_old_ones_are_removed,
        after_the_last_step,
        while_the_model_is_written,
        while_the_results_are_moved,
    )
}


def undrawn(*given: Any) -> None:
    """Write a placeholder instead of a picture; its path is the last argument."""
    given[-1].write_bytes(b"not drawn")


def quiet(log: str) -> None:
    """Redirect stdout and stderr of this process to the log, for signal handlers too."""
    output = open(log, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
    os.dup2(output.fileno(), 2)
    sys.stdout = sys.stderr = output
    warnings.filterwarnings("ignore", category=FutureWarning)


def body(values: dict[str, Any], moment: str | None, log: str, rank: dict[str, str] | None = None) -> None:
    quiet(log)
    os.environ.update(rank or {})
    from training_code import pictures, ranks
    from training_code.fine_tune import fine_tune
    from training_code.pipes import Silent, Terminal

    pictures.draw_mask = pictures.draw_losses = undrawn
    if moment:
        MOMENTS[moment]()
    fine_tune(build(values, "the test"), Terminal() if ranks.is_first() else Silent())


def program(arguments: list[str], log: str) -> None:
    """Run the program's `main` with these arguments."""
    quiet(log)
    from training_code.fine_tune import main

    sys.exit(main(arguments))


def forked(target: Callable[..., None], *given: Any) -> "multiprocessing.context.ForkServerProcess":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    process = context.Process(target=target, args=given)
    process.start()
    return process


def code_of(process: "multiprocessing.context.ForkServerProcess", log: Path) -> int:
    """Wait for the process; return its exit code, -9 when it killed itself. Raises AssertionError after 300 s."""
    process.join(300)
    if process.exitcode is None:
        process.kill()
        raise AssertionError(f"the run hangs; its log: {log.read_text()}")
    return process.exitcode


def run(settings: Settings, log: Path, moment: str | None = None) -> int:
    """Train in a process that kills itself at `moment`; return its exit code (-9 when it did)."""
    return code_of(forked(body, settings.as_json(), moment, str(log)), log)


def run_together(count: int, settings: Settings, log: Path, moment: str | None = None) -> list[int]:
    """Train as `count` ranks, each of which kills itself at `moment`; return their exit codes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "store")
        processes = [
            forked(body, settings.as_json(), moment, str(log), variables(rank, count, store)) for rank in range(count)
        ]
        return [code_of(process, log) for process in processes]


def stopped(arguments: list[str], log: Path, words: str, number: signal.Signals) -> int:
    """Start the program, and send it a signal once the words are in its log; return its exit code."""
    process = forked(program, arguments, str(log))
    deadline = time.monotonic() + 240
    try:
        while not (log.exists() and words in log.read_text(encoding="utf-8")):
            assert process.is_alive(), log.read_text(encoding="utf-8")
            assert time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        assert process.pid
        os.kill(process.pid, number)
        return code_of(process, log)
    finally:
        process.kill()
