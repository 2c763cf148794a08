"""Estimates how long a run will take by timing one step before it starts, without changing its result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .chat_template import Tokens
from .errors import TooLong
from .replay import tokens_of
from .settings import Settings

if TYPE_CHECKING:
    from .data import TokenRows
    from .pipes import Reporter
    from .trainer import Trainer

# An evaluation needs the forward pass only: about a third of the arithmetic of forward and backward.
EVALUATION_SHARE = 1 / 3


@dataclass(frozen=True)
class Estimate:
    """The remaining work; `seconds` is extrapolated from one measured step."""

    steps: int
    seconds: float
    tokens_per_second: float


def estimate(trainer: Trainer, settings: Settings, train_tokens: int, validation_tokens: int, steps: int) -> Estimate:
    """The estimate for the remaining `steps`; the tokens are those of an epoch, with what is replayed."""
    speed = measured_speed(trainer)
    epochs_left = settings.epochs * steps / max(1, total_steps(trainer, settings))
    tokens = epochs_left * (train_tokens + EVALUATION_SHARE * validation_tokens)
    return Estimate(steps, tokens / speed, speed)


def total_steps(trainer: Trainer, settings: Settings) -> int:
    from .trainer import steps_of

    return steps_of(settings, len(trainer.train_dataset))  # type: ignore[arg-type]


def measured_speed(trainer: Trainer) -> float:
    """Tokens per second of forward and backward, over a few steps after a warm-up step; restores all state.

    The steps are spread over the rows: those to be learned and those to be replayed differ in their work.
    """
    import torch

    rows = trainer.train_dataset
    size, count = trainer.args.per_device_train_batch_size, len(rows)  # type: ignore[arg-type]
    starts = sorted({max(0, min(count - size, count * quarter // 4)) for quarter in (1, 2, 3)})
    chosen = [[rows[i] for i in range(start, min(start + size, count))] for start in starts]  # type: ignore[index]
    seconds = 0.0
    with torch.random.fork_rng():
        trainer.model.train()  # type: ignore[union-attr]
        for step, examples in enumerate([chosen[0], *chosen]):
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
            seconds += time.perf_counter() - began if step else 0.0
    trainer.model.zero_grad(set_to_none=True)  # type: ignore[union-attr]
    # Removes what the trial steps added to trl's running means.
    trainer._metrics["train"].clear()
    return sum(len(example["input_ids"]) for examples in chosen for example in examples) / seconds


def announce(
    reporter: Reporter,
    settings: Settings,
    train: TokenRows,
    validation: TokenRows,
    replay: Sequence[Tokens],
    ahead: Estimate,
) -> None:
    """Report the estimate. Raises TooLong when it is above the limit."""
    minutes = ahead.seconds / 60
    reporter.line(
        f"{len(train.rows)} conversations, {train.tokens} tokens an epoch, {train.tokens_in_loss} of them in the loss; "
        f"{len(validation.rows)} validation conversations"
    )
    if replay:
        reporter.line(
            f"{len(replay)} conversations, {tokens_of(replay)} tokens an epoch, are replayed as the base has them"
        )
    if train.cut or validation.cut:
        reporter.line(f"cut to {settings.max_length} tokens: {train.cut} in training, {validation.cut} in validation")
    reporter.line(
        f"{ahead.steps} steps left, about {minutes:.1f} minutes at {ahead.tokens_per_second:.0f} tokens/s (measured)"
    )
    limit = settings.max_train_minutes
    if limit is not None and minutes > limit:
        raise TooLong(
            f"training would take about {minutes:.1f} minutes, and max_train_minutes is {limit:g}: raise it, "
            "or use fewer epochs, less data or a faster machine. Nothing was trained"
        )
