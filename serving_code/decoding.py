"""The decode loop: each step adds one token to every row; rows join and leave the running batch between steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from transformers.cache_utils import Cache

from serving_code.cache import append_rows, join_left_padded, keep_rows, new_cache
from serving_code.model_folder import LoadedModel
from serving_code.sampling import Sampling, choose_tokens, new_generator
from serving_code.text import TextStream

FinishReason = Literal["stop", "length"]


@dataclass(eq=False)
class Generation:
    """One answer being generated. `delta` is the text that the last step added.

    `dropped_turns` of the conversation's oldest turns were left out of the prompt, because they did not fit.
    """

    prompt: list[int]
    sampling: Sampling
    text: TextStream
    max_new_tokens: int
    dropped_turns: int = 0
    generator: torch.Generator | None = None
    produced: int = 0
    delta: str = ""
    pieces: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    def __post_init__(self) -> None:
        self.generator = new_generator(self.sampling)

    def accept(self, token: int, end_ids: frozenset[int]) -> None:
        """Take the next token; `finish_reason` is set when it was the last."""
        self.produced += 1
        if token in end_ids:
            self.finish_reason = "stop"
        else:
            self.delta = self.text.push(token)
            if self.text.stopped:
                self.finish_reason = "stop"
            elif self.produced >= self.max_new_tokens:
                self.finish_reason = "length"
        if self.finish_reason:
            self.delta = ("" if token in end_ids else self.delta) + self.text.finish()
            # The buffered text can itself complete a stop string.
            if self.text.stopped:
                self.finish_reason = "stop"
        self.pieces.append(self.delta)


class DecodingBatch:
    """The answers being decoded together. `admit` and `step` return those that advanced, finished or not."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._cache = new_cache()
        self._mask = torch.zeros((0, 0), dtype=torch.long, device=loaded.device)
        self._last: list[int] = []
        self.rows: list[Generation] = []

    @torch.inference_mode()
    def admit(self, newcomers: Sequence[Generation]) -> list[Generation]:
        """Read the newcomers' prompts, choose each one's first token, and let the unfinished ones join the rows."""
        if not newcomers:
            return []
        ids, mask = self._left_padded([generation.prompt for generation in newcomers])
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        cache = new_cache()
        chosen = self._advance(list(newcomers), ids, mask, positions, cache)
        alive = [row for row, generation in enumerate(newcomers) if not generation.finish_reason]
        if alive:
            self._join([newcomers[row] for row in alive], [chosen[row] for row in alive], *_only(cache, mask, alive))
        return list(newcomers)

    @torch.inference_mode()
    def step(self) -> list[Generation]:
        """Choose one more token for every row; the finished rows leave."""
        if not self.rows:
            return []
        advanced = list(self.rows)
        self._mask = torch.cat([self._mask, self._mask.new_ones((len(advanced), 1))], dim=1)
        ids = torch.tensor(self._last, device=self._loaded.device).unsqueeze(1)
        positions = self._mask.sum(dim=1, keepdim=True) - 1
        self._last = self._advance(advanced, ids, self._mask, positions, self._cache)
        self._keep([row for row, generation in enumerate(advanced) if not generation.finish_reason])
        return advanced

    def discard(self, generation: Generation) -> None:
        """Remove a cancelled answer."""
        if generation in self.rows:
            self._keep([row for row, other in enumerate(self.rows) if other is not generation])

    def _advance(
        self, rows: list[Generation], ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Cache
    ) -> list[int]:
        output = self._loaded.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens = choose_tokens(output.logits[:, -1], [(row.sampling, row.generator) for row in rows])
        for generation, token in zip(rows, tokens, strict=True):
            generation.accept(token, self._loaded.end_ids)
        return tokens

    def _left_padded(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        length = max(map(len, prompts))
        ids = torch.zeros((len(prompts), length), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, length - len(prompt) :] = torch.tensor(prompt)
            mask[row, length - len(prompt) :] = 1
        return ids.to(self._loaded.device), mask.to(self._loaded.device)

    def _join(self, newcomers: list[Generation], last: list[int], cache: Cache, mask: torch.Tensor) -> None:
        if self.rows:
            append_rows(self._cache, cache)
            self._mask = join_left_padded(self._mask, mask, 1)
        else:
            self._cache, self._mask = cache, mask
        self.rows += newcomers
        self._last = self._last + last if len(self.rows) > len(newcomers) else last

    def _keep(self, rows: list[int]) -> None:
        if len(rows) == len(self.rows):
            return
        self.rows = [self.rows[row] for row in rows]
        self._last = [self._last[row] for row in rows]
        if self.rows:
            self._cache, self._mask = _only(self._cache, self._mask, rows)
        else:
            self._cache, self._mask = new_cache(), self._mask.new_zeros((0, 0))


def _only(cache: Cache, mask: torch.Tensor, rows: list[int]) -> tuple[Cache, torch.Tensor]:
    """Cache and mask of these rows only, without the left padding common to all of them."""
    if len(rows) == mask.shape[0]:
        return cache, mask
    mask = mask[torch.tensor(rows, device=mask.device)]
    first = int(mask.any(dim=0).int().argmax())
    keep_rows(cache, rows, first)
    return cache, mask[:, first:]
