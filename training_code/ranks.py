"""Several processes that train one model together, one for each GPU (torch's DistributedDataParallel).

Each rank holds the whole model and computes its share of the rows of a step; the gradients are summed. Only rank 0
writes results, reports and goes on after the training. All ranks are on one machine.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from . import lifeline
from .errors import TrainingRefused
from .settings import Settings

STORE = "PHI_RANKS_STORE"  # path of the file through which the ranks find each other
POLL_SECONDS = 0.2
REPORT_SECONDS = 20.0
T = TypeVar("T")


def launched() -> bool:
    """Whether this process is one of several that a launcher has started."""
    count = os.environ.get("WORLD_SIZE", "1")
    return count.isdigit() and int(count) > 1


def wanted(settings: Settings) -> int:
    """The number of processes to start: `processes`, or one for each visible GPU."""
    if settings.processes is not None:
        return settings.processes
    if settings.preference != "none":
        return 1
    import torch

    return max(1, torch.cuda.device_count())


def launch(count: int) -> int:
    """Run this program `count` times, as ranks of one training, and return the exit code: the first that is not 0.

    When one rank fails, or this process is stopped, the others are stopped too.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes
    from torch.distributed.elastic.multiprocessing.api import SignalException

    with tempfile.TemporaryDirectory(prefix="ranks-") as folder:
        watched = [os.environ.get(lifeline.VARIABLE, ""), lifeline.lifeline_for([os.getpid()])]
        tied = {lifeline.VARIABLE: ",".join(filter(None, watched))}
        context = start_processes(
            name="rank",
            entrypoint=sys.executable,
            args={rank: tuple(sys.orig_argv[1:]) for rank in range(count)},
            envs={rank: variables(rank, count, Path(folder, "store")) | tied for rank in range(count)},
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            result = context.wait(period=POLL_SECONDS)
        except SignalException as e:
            context.close(e.sigval)
            return 128 + e.sigval
    if result is None or not result.failures:
        return 0
    rank, failure = min(result.failures.items())
    code = failure.exitcode if failure.exitcode >= 0 else 128 - failure.exitcode
    if rank:
        print(f"error: rank {rank} of {count} ended with status {code}, and the others were stopped", file=sys.stderr)
    return code


def variables(rank: int, count: int, store: Path) -> dict[str, str]:
    """The environment of one of `count` ranks, which meet in the file `store` and listen on the loopback interface."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    interfaces = {name: os.environ.get(name, loopback) for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")}
    places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    return {STORE: str(store), **interfaces, **{name: str(value) for name, value in places.items()}}


def join() -> None:
    """Meet the other ranks; no effect in a single process. Raises TrainingRefused."""
    if not launched():
        return
    world, local = os.environ["WORLD_SIZE"], os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"])
    if world != local:
        raise TrainingRefused(
            f"started as one of {world} processes of which {local} are on this machine: training runs on one machine"
        )
    import torch
    from torch import distributed

    gpus, place = torch.cuda.device_count(), int(os.environ["LOCAL_RANK"])
    if torch.cuda.is_available():
        if int(world) > gpus:
            raise TrainingRefused(f"{world} processes need a GPU each, and this machine has {gpus}: set processes")
        torch.cuda.set_device(place)
    if distributed.is_initialized():
        return
    distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"file://{os.environ[STORE]}" if STORE in os.environ else "env://",
        rank=int(os.environ["RANK"]),
        world_size=int(world),
    )


def leave() -> None:
    """Wait for the others, then go on alone."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def count() -> int:
    """The number of ranks that train together."""
    distributed = group()
    return distributed.get_world_size() if distributed else 1


def is_first() -> bool:
    """Whether this is rank 0, which also is the only process of a training without others."""
    return os.environ.get("RANK", "0") == "0" or not launched()


def of_first(make: Callable[[], T]) -> T:
    """What `make` returns in rank 0; the other ranks do not call it."""
    distributed = group()
    if distributed is None:
        return make()
    made: list[Any] = [make() if is_first() else None]
    distributed.broadcast_object_list(made, src=0)
    return made[0]


def highest(value: float) -> float:
    """The highest of the values that the ranks give."""
    distributed = group()
    if distributed is None:
        return value
    import torch

    found = torch.tensor(value, dtype=torch.float64, device="cuda" if torch.cuda.is_available() else "cpu")
    distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return found.item()


def wait() -> None:
    """Wait until every rank has come here."""
    distributed = group()
    if distributed is not None:
        distributed.barrier()


def group() -> Any:
    """torch.distributed when this process has joined others, else None. Does not load torch."""
    loaded = sys.modules.get("torch.distributed")
    return loaded if loaded is not None and loaded.is_available() and loaded.is_initialized() else None


def give_first_way() -> None:
    """Leave rank 0 the time to report a refusal that all ranks meet: the first that ends stops the others."""
    if not is_first():
        time.sleep(REPORT_SECONDS)
