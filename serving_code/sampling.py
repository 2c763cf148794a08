"""Chooses the next token: greedy, or drawn from the model's distribution with a seed per request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MAX_STOP_STRINGS = 16


@dataclass(frozen=True)
class Sampling:
    """How one answer is generated. `temperature` 0 is greedy; `seed` None uses a random seed."""

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if not (math.isfinite(self.temperature) and 0.0 <= self.temperature <= 2.0):
            raise ValueError(f"temperature is {self.temperature}; it must be between 0 (greedy) and 2")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if len(self.stop) > MAX_STOP_STRINGS:
            raise ValueError(f"{len(self.stop)} stop strings were given; at most {MAX_STOP_STRINGS} are accepted")
        if any(not text for text in self.stop):
            raise ValueError("a stop string is empty; leave it out or give it at least one character")


def new_generator(sampling: Sampling) -> torch.Generator | None:
    """A random generator per request, so that other rows of the batch do not change its draws; None if greedy."""
    import torch

    if sampling.temperature == 0.0:
        return None
    generator = torch.Generator(device="cpu")
    if sampling.seed is None:
        generator.seed()
    else:
        # Clients may send any 64-bit integer, including negative ones; torch accepts 0 to 2**64 - 1.
        generator.manual_seed(sampling.seed % 2**64)
    return generator


def choose_tokens(logits: torch.Tensor, choices: list[tuple[Sampling, torch.Generator | None]]) -> list[int]:
    """One token id per row of `logits` (rows, vocabulary), each by its own request's settings."""
    greedy = logits.argmax(dim=-1).tolist()
    return [
        greedy[row] if generator is None else _draw(logits[row], sampling, generator)
        for row, (sampling, generator) in enumerate(choices)
    ]


def _draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A draw from the smallest set of tokens that holds `top_p` of the probability (arXiv:1904.09751)."""
    import torch

    probabilities = torch.softmax(logits.float().cpu() / sampling.temperature, dim=-1)
    if sampling.top_p >= 1.0:
        return int(torch.multinomial(probabilities, 1, generator=generator))
    ordered, tokens = probabilities.sort(descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered[before >= sampling.top_p] = 0.0
    return int(tokens[torch.multinomial(ordered, 1, generator=generator)])
