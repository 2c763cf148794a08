"""Chooses the next token: greedy, or drawn from the model's distribution with a seed per request."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

MAX_STOP_STRINGS = 16
MAX_LOGPROBS = 20


@dataclass(frozen=True)
class Sampling:
    """How one answer is generated. `temperature` 0 is greedy; `seed` None uses a random seed.

    `top_k` 0 and `min_p` 0 keep all tokens. Penalties count the tokens of the answer (OpenAI's formula);
    `repetition_penalty` also those of the prompt (arXiv:1909.05858). `logprobs` is how many of the likeliest tokens are
    reported with each token, None for no log probabilities. `json_schema` restricts the answer to JSON of that schema.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    json_schema: str | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {self.max_new_tokens}; it must be at least 1")
        if not (math.isfinite(self.temperature) and 0.0 <= self.temperature <= 2.0):
            raise ValueError(f"temperature is {self.temperature}; it must be between 0 (greedy) and 2")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p is {self.top_p}; it must be above 0 and at most 1")
        if not 0.0 <= self.min_p <= 1.0:
            raise ValueError(f"min_p is {self.min_p}; it must be between 0 and 1")
        if self.top_k < 0:
            raise ValueError(f"top_k is {self.top_k}; it must be at least 1, or 0 for all tokens")
        for name in ("presence_penalty", "frequency_penalty"):
            if not -2.0 <= getattr(self, name) <= 2.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be between -2 and 2")
        if not (math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0.0):
            raise ValueError(f"repetition_penalty is {self.repetition_penalty}; it must be above 0, and 1 is none")
        if not all(-100.0 <= bias <= 100.0 for _, bias in self.logit_bias):
            raise ValueError("logit_bias holds a value that is not between -100 and 100")
        if self.logprobs is not None and not 0 <= self.logprobs <= MAX_LOGPROBS:
            raise ValueError(f"{self.logprobs} log probabilities were asked for; it must be 0 to {MAX_LOGPROBS}")
        if len(self.stop) > MAX_STOP_STRINGS:
            raise ValueError(f"{len(self.stop)} stop strings were given; at most {MAX_STOP_STRINGS} are accepted")
        if any(not text for text in self.stop):
            raise ValueError("a stop string is empty; leave it out or give it at least one character")


@dataclass(frozen=True)
class TokenChoice:
    """A chosen token. With log probabilities: its own, and the likeliest tokens with theirs, before any setting."""

    token: int
    logprob: float = 0.0
    top: tuple[tuple[int, float], ...] = ()


class Grammar(Protocol):
    """What an answer may be, token by token."""

    def restrict(self, logits: torch.Tensor) -> None:
        """Set the logits (vocabulary) of all tokens that cannot come next to minus infinity."""

    def advance(self, token: int) -> None:
        """Take the chosen token."""

    def complete(self) -> bool:
        """Whether nothing can follow."""
        ...


class Chooser:
    """Chooses the tokens of one answer, with a random generator of its own: other answers do not change its draws."""

    def __init__(self, sampling: Sampling, prompt: list[int], grammar: Grammar | None = None) -> None:
        self._sampling, self._grammar = sampling, grammar
        self._generator = new_generator(sampling)
        self._counts: Counter[int] = Counter()
        self._seen = set(prompt) if sampling.repetition_penalty != 1.0 else set()
        penalties = sampling.presence_penalty or sampling.frequency_penalty or sampling.repetition_penalty != 1.0
        self._counting = bool(penalties)
        self._plain = not (penalties or sampling.logit_bias or grammar)

    def choose(self, logits: torch.Tensor, likeliest: int) -> TokenChoice:
        """The next token, given the logits (vocabulary) and the likeliest token by them."""
        token = likeliest
        if not self._plain or self._generator is not None:
            adjusted = logits if self._plain else self._adjusted(logits)
            generator = self._generator
            token = int(adjusted.argmax()) if generator is None else _draw(adjusted, self._sampling, generator)
        if self._counting:
            self._counts[token] += 1
            self._seen.add(token)
        if self._grammar:
            self._grammar.advance(token)
        return TokenChoice(token) if self._sampling.logprobs is None else _reported(logits, token, self._sampling)

    def complete(self) -> bool:
        """Whether the grammar lets nothing follow."""
        return self._grammar is not None and self._grammar.complete()

    def _adjusted(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        sampling = self._sampling
        adjusted = logits.float().cpu().clone()
        if sampling.repetition_penalty != 1.0 and self._seen:
            seen = torch.tensor(sorted(self._seen))
            scores = adjusted[seen]
            penalty = sampling.repetition_penalty
            adjusted[seen] = torch.where(scores > 0, scores / penalty, scores * penalty)
        if self._counts:
            tokens, counts = torch.tensor(list(self._counts)), torch.tensor([*self._counts.values()]).float()
            adjusted[tokens] -= sampling.presence_penalty + sampling.frequency_penalty * counts
        for token, bias in sampling.logit_bias:
            adjusted[token] += bias
        if self._grammar:
            self._grammar.restrict(adjusted)
        return adjusted


def new_generator(sampling: Sampling) -> torch.Generator | None:
    """The random generator of a request; None if greedy."""
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


def _draw(logits: torch.Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """A draw from the tokens that `top_k`, `top_p` (arXiv:1904.09751) and `min_p` (arXiv:2407.01082) leave."""
    import torch

    probabilities = torch.softmax(logits.float().cpu() / sampling.temperature, dim=-1)
    if sampling.min_p:
        probabilities[probabilities < sampling.min_p * probabilities.max()] = 0.0
    if sampling.top_p >= 1.0 and not sampling.top_k:
        return int(torch.multinomial(probabilities, 1, generator=generator))
    ordered, tokens = probabilities.sort(descending=True, stable=True)
    if sampling.top_k:
        ordered, tokens = ordered[: sampling.top_k], tokens[: sampling.top_k]
    ordered = ordered / ordered.sum()
    before = ordered.cumsum(dim=-1) - ordered
    ordered[before >= sampling.top_p] = 0.0
    return int(tokens[torch.multinomial(ordered, 1, generator=generator)])


def _reported(logits: torch.Tensor, token: int, sampling: Sampling) -> TokenChoice:
    import torch

    logprobs: Any = torch.log_softmax(logits.float(), dim=-1)
    top: Any = logprobs.topk(sampling.logprobs or 0)
    pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    return TokenChoice(token, float(logprobs[token]), tuple(pairs))
