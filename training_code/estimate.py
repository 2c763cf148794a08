"""Estimates how long a run will take by timing a few steps before it starts, without changing its result."""

from __future__ import annotations

import heapq
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import ranks
from .errors import TooLong, TrainingRefused
from .settings import Settings
from .sizing import Plan

if TYPE_CHECKING:
    from .data import TokenRows
    from .pipes import Reporter
    from .trainer import Trainer

# An evaluation needs the forward pass only: about a third of the arithmetic of forward and backward.
EVALUATION_SHARE = 1 / 3
TRIALS = 3
# Seconds of a token of preference training, by those of the measured steps: on two cores with 135 million weights.
PREFERENCE_SHARE = 1.4


@dataclass(frozen=True)
class Estimate:
    """The remaining work; `seconds` is extrapolated from a few measured steps."""

    steps: int
    seconds: float
    tokens_per_second: float


def estimate(
    trainer: Trainer, settings: Settings, validation: TokenRows, steps: int, total: int, preference_tokens: int = 0
) -> Estimate:
    """The estimate for the remaining `steps` of `total`, and for preference training on so many tokens an epoch.

    The slowest rank decides.
    """
    tokens, seconds = measured_steps(trainer)
    seconds = ranks.highest(seconds)
    epochs_left = settings.epochs * steps / max(1, total)
    batches = steps * math.ceil(settings.accumulation / ranks.count())
    speed = ranks.count() * tokens / seconds
    ahead = batches * seconds / TRIALS + epochs_left * EVALUATION_SHARE * validation.tokens / speed
    passes = settings.preference_epochs + EVALUATION_SHARE  # the reference's log-probabilities are computed once
    ahead += PREFERENCE_SHARE * passes * preference_tokens / speed
    return Estimate(steps, ahead, speed)


def measured_steps(trainer: Trainer) -> tuple[int, float]:
    """Tokens and seconds of forward and backward of TRIALS batches, after a warm-up; restores all state.

    The batches are spread over the rows, which differ in length; the warm-up has the longest, so that what does not fit
    in a GPU's memory is refused here. Raises TrainingRefused.
    """
    import torch

    if trainer.args.activation_checkpointing:
        # train() would turn it on, which comes after these steps.
        trainer.model.activation_checkpointing_enable()  # type: ignore[union-attr]
    try:
        return timed_steps(trainer)
    except torch.OutOfMemoryError as e:
        raise TrainingRefused(
            "the longest row does not fit in the GPU's memory: set a smaller packed_length, batch_size or max_length, "
            "gradient_checkpointing, or method = qlora. Nothing was trained"
        ) from e


def timed_steps(trainer: Trainer) -> tuple[int, float]:
    """The steps of measured_steps()."""
    import torch

    rows: Any = trainer.train_dataset
    size = trainer.args.per_device_train_batch_size
    order = list(trainer.order) if trainer.order else list(range(len(rows)))
    batches = max(1, len(order) // size)
    starts = [size * (batches * part // (TRIALS + 1)) for part in range(1, TRIALS + 1)]
    chosen = [[rows[i] for i in order[start : start + size]] for start in starts]
    lengths = list(map(sum, rows["seq_lengths"]))
    longest = heapq.nlargest(size, range(len(lengths)), key=lengths.__getitem__)
    seconds = 0.0
    with torch.random.fork_rng():
        trainer.model.train()  # type: ignore[union-attr]
        for trial, examples in enumerate([[rows[i] for i in longest], *chosen]):
            batch = {
                name: value.to(trainer.args.device) if isinstance(value, torch.Tensor) else value
                for name, value in trainer.data_collator(examples).items()
            }
            began = time.perf_counter()
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(trainer.model, dict(batch))
            loss.backward()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds += time.perf_counter() - began if trial else 0.0
    trainer.model.zero_grad(set_to_none=True)  # type: ignore[union-attr]
    # Removes what the trial steps added to trl's running means.
    trainer._metrics["train"].clear()
    return sum(len(example["input_ids"]) for examples in chosen for example in examples), seconds


def announce(
    reporter: Reporter,
    settings: Settings,
    train: TokenRows,
    validation: TokenRows,
    replay: TokenRows | None,
    planned: Plan,
    ahead: Estimate,
) -> None:
    """Report the plan and the estimate. Raises TooLong when it is above the limit."""
    minutes = ahead.seconds / 60
    reporter.line(
        f"{len(train.rows)} conversations, {train.tokens} tokens an epoch, {train.tokens_in_loss} of them in the loss; "
        f"{len(validation.rows)} validation conversations"
    )
    if replay:
        reporter.line(
            f"{len(replay.rows)} conversations to replay, {settings.replay_share:.0%} of an epoch; "
            f"they have {replay.tokens} tokens"
        )
    if train.cut or validation.cut:
        reporter.line(f"cut to {settings.max_length} tokens: {train.cut} in training, {validation.cut} in validation")
    reporter.line(planned.line())
    if planned.note:
        reporter.line(planned.note)
    if planned.warning:
        reporter.warning(planned.warning)
    reporter.line(
        f"{ahead.steps} steps left, about {minutes:.1f} minutes at {ahead.tokens_per_second:.0f} tokens/s (measured)"
    )
    limit = settings.max_train_minutes
    if limit is not None and minutes > limit:
        raise TooLong(
            f"training would take about {minutes:.1f} minutes, and max_train_minutes is {limit:g}: raise it, "
            "or use fewer epochs, less data or a faster machine. Nothing was trained"
        )
