"""One answer while it is being generated."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from serving_code.prefix_cache import as_array
from serving_code.sampling import Chooser, Sampling, TokenChoice
from serving_code.text import TextStream

if TYPE_CHECKING:
    from serving_code.kv_store import Row

FinishReason = Literal["stop", "length"]


@dataclass(eq=False)
class Generation:
    """One answer being generated. `delta` is the text that the last step added, `chosen` its token, None for the end.

    `dropped_turns` of the conversation's oldest turns were left out of the prompt, because they did not fit. `caller`
    is whose stored prefixes may be read; None stores and reads none. `cached_tokens` of the prompt were found there.
    """

    prompt: list[int]
    sampling: Sampling
    text: TextStream
    max_new_tokens: int
    chooser: Chooser
    dropped_turns: int = 0
    caller: str | None = None
    cached_tokens: int = 0
    row: Row | None = None
    output: list[int] = field(default_factory=list)
    chosen: TokenChoice | None = None
    choices: list[TokenChoice] = field(default_factory=list)
    delta: str = ""
    pieces: list[str] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def produced(self) -> int:
        """The tokens generated so far."""
        return len(self.output)

    @property
    def most_tokens(self) -> int:
        """The most tokens that prompt and answer can have."""
        return len(self.prompt) + self.max_new_tokens

    @property
    def unread(self) -> int:
        """The tokens of the prompt that the model has not read yet."""
        return len(self.prompt) - (self.row.length if self.row else 0)

    @cached_property
    def prompt_array(self) -> np.ndarray:
        """The prompt, to compare with others."""
        return as_array(self.prompt)

    def stored_tokens(self) -> np.ndarray:
        """The tokens whose keys and values are stored."""
        length = self.row.length if self.row else 0
        return np.concatenate([self.prompt_array, as_array(self.output)])[:length]

    def accept(self, choice: TokenChoice, end_ids: frozenset[int]) -> None:
        """Take the next token; `finish_reason` is set when it was the last."""
        token = choice.token
        self.output.append(token)
        self.chosen = None if token in end_ids else choice
        if self.sampling.logprobs is not None and token not in end_ids:
            self.choices.append(choice)
        if token in end_ids:
            self.finish_reason, self.delta = "stop", ""
        else:
            self.delta = self.text.push(token)
            if self.text.stopped or self.chooser.complete():
                self.finish_reason = "stop"
            elif self.produced >= self.max_new_tokens:
                self.finish_reason = "length"
        if self.finish_reason:
            self.delta += self.text.finish()
            # The buffered text can itself complete a stop string.
            if self.text.stopped:
                self.finish_reason = "stop"
        self.pieces.append(self.delta)
