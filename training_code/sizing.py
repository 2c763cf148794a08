"""Fits the size of a step to the data: tokens per step, length of rows, optimizer steps, warm-up.

A schedule needs steps: with few, the learning rate has hardly risen before it falls again. A preset says how many
tokens a step may have at most, and how many steps are wanted (`target_steps`); little data gets smaller steps.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from .settings import Settings

# Fewer are warned about: a rule of thumb.
FEW_STEPS = 50
# In tokens. Rows are not halved below it: conversations are seldom shorter, and a longer one has a row of its own.
SHORTEST_ROW = 128


@dataclass(frozen=True)
class Plan:
    """What a run will do, known before it starts. `tokens_per_step` is a mean; `warning` is empty when all is well."""

    steps: int
    tokens_per_step: int
    warmup_steps: int
    rows_per_epoch: int
    longest_conversation: int
    max_length: int
    packed_length: int | None
    batch_size: int
    accumulation: int
    device: str
    note: str = ""
    warning: str = ""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def line(self) -> str:
        """The plan as a line of a log."""
        kind = f"row(s) of {self.packed_length} tokens" if self.packed_length else "conversation(s)"
        return (
            f"{self.steps} optimizer steps of about {self.tokens_per_step} tokens on {self.device}: "
            f"{self.batch_size * self.accumulation} {kind} to a step, {self.batch_size} at once; the learning rate "
            f"rises in the first {self.warmup_steps} steps; the longest conversation has {self.longest_conversation} "
            f"tokens, at most {self.max_length} are read"
        )


def epoch_tokens(own: int, replay_share: float) -> int:
    """Tokens of an epoch: `own` of the conversations to learn, and the share of replay besides."""
    return round(own / (1 - min(replay_share, 0.99)))


def fitted(settings: Settings, *, tokens: int, rows: int) -> Settings:
    """The settings with the largest steps that still make `target_steps` of them, none larger than the preset's own.

    `tokens` and `rows`: tokens and conversations of an epoch, replay included. Packed rows are halved first and no
    further than to SHORTEST_ROW; then a step gets fewer of them. Without `target_steps` nothing changes.
    """
    if settings.target_steps is None:
        return settings
    most = settings.batch_size * settings.accumulation
    packed_length = settings.packed_length
    if settings.packing:
        per_step = settings.epochs * tokens / settings.target_steps
        while packed_length > per_step and packed_length // 2 >= SHORTEST_ROW:
            packed_length //= 2
        wanted = int(per_step / packed_length)
    else:
        wanted = int(settings.epochs * rows / settings.target_steps)
    count = max(1, min(most, wanted))
    batch_size = min(settings.batch_size, count)
    return settings.model_copy(
        update={"packed_length": packed_length, "batch_size": batch_size, "accumulation": count // batch_size}
    )


def expected_steps(settings: Settings, tokens: int, rows: int) -> tuple[int, int]:
    """Optimizer steps and tokens per step of fitted settings, before rows are packed: about right.

    `tokens` and `rows` as for fitted().
    """
    made = fitted(settings, tokens=tokens, rows=rows)
    in_step = made.batch_size * made.accumulation
    per_step = in_step * made.packed_length if made.packing else round(in_step * tokens / max(rows, 1))
    per_step = max(1, min(per_step, tokens))
    return max(1, round(made.epochs * tokens / per_step)), per_step


def plan(settings: Settings, *, steps: int, rows: int, tokens: int, longest: int, device: str) -> Plan:
    """The plan of a run with fitted `settings`: `rows` and `tokens` of an epoch, `steps` of the whole run."""
    note = warning = ""
    if settings.comparison:
        note = f"values of {settings.comparison}, for a comparison with it: they are not fitted to the data"
    elif steps < FEW_STEPS:
        warning = few_steps(settings, steps)
    return Plan(
        steps=steps,
        tokens_per_step=round(settings.epochs * tokens / steps),
        warmup_steps=warmup_steps(settings, steps),
        rows_per_epoch=rows,
        longest_conversation=longest,
        max_length=settings.max_length,
        packed_length=settings.packed_length if settings.packing else None,
        batch_size=settings.batch_size,
        accumulation=settings.accumulation,
        device=device,
        note=note,
        warning=warning,
    )


def few_steps(settings: Settings, steps: int) -> str:
    """The warning about a run of few steps, with its remedy."""
    remedy = (
        "set target_steps, such as 200, in the preset, or make packed_length and accumulation smaller"
        if settings.target_steps is None
        else "add conversations, or raise epochs"
    )
    return f"{steps} optimizer steps are few to learn from, fewer than {FEW_STEPS}: {remedy}"


def steps_of(settings: Settings, rows: int) -> int:
    """Optimizer steps of the whole run over `rows` rows an epoch."""
    batches = math.ceil(rows / settings.batch_size)
    return math.ceil(settings.epochs * max(1, math.ceil(batches / settings.accumulation)))


def warmup_steps(settings: Settings, steps: int) -> int:
    """Steps in which the learning rate rises."""
    return round(settings.warmup_share * steps)
