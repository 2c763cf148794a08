"""Preference pairs: a prompt with a chosen and a rejected answer, read from JSON Lines and turned into tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chat_template import Message, TemplateMismatch, tokenise
from .data import checked_messages, read_lines
from .errors import TrainingRefused

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from .settings import Settings

HELD_OUT = ("validation", "test")
SPLITS = ("train", *HELD_OUT)
LEFT_OUT = {
    "too_long": "longer than max_length",
    "several_turns": "an answer of several turns",
    "equal": "two equal answers",
    "no_template": "not rendered by the chat template",
}


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt; a `held_out` pair measures, and is not learned."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    held_out: bool


@dataclass(frozen=True)
class TokenPair:
    """A pair in tokens. Each answer begins where the model starts to generate and ends with its end token."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def tokens(self) -> int:
        """Tokens of the two conversations."""
        return 2 * len(self.prompt) + len(self.chosen) + len(self.rejected)


@dataclass
class TokenPairs:
    """The usable pairs of a file, and how many were left out, by the reasons of LEFT_OUT."""

    train: list[TokenPair] = field(default_factory=list)
    held_out: list[TokenPair] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.train) + len(self.held_out)

    def counts(self) -> dict[str, Any]:
        """Numbers of pairs, as JSON values."""
        return {
            "train": len(self.train),
            "held_out": len(self.held_out),
            "held_out_share": round(len(self.held_out) / len(self), 4) if len(self) else 0.0,
            "left_out": dict(sorted(self.left_out.items())),
        }

    @property
    def tokens(self) -> int:
        """Tokens of the training pairs."""
        return sum(pair.tokens for pair in self.train)

    def missing(self, least: int) -> str:
        """Why these pairs are too few to learn from, at least `least` being needed; empty when they suffice."""
        if len(self) >= least and self.train:
            return ""
        reasons = ", ".join(f"{count} {LEFT_OUT[reason]}" for reason, count in sorted(self.left_out.items()))
        return (
            f"usable preference pairs: {len(self)}, of them for training: {len(self.train)}, needed: at least {least} "
            "(preference_min_pairs)" + (f"; left out: {reasons}" if reasons else "")
        )


def load_pairs(
    settings: Settings, tokenizer: PreTrainedTokenizerBase, stops: Collection[int], max_length: int
) -> TokenPairs:
    """The pairs of the settings' file; none without a file, or without preference training. Raises TrainingRefused."""
    if settings.preference_file is None or settings.preference == "none":
        return TokenPairs()
    return tokenise_pairs(read_pairs(settings.preference_file), tokenizer, stops, max_length)


def read_pairs(path: Path) -> list[Pair]:
    """The pair of each line of a JSON Lines file. Raises TrainingRefused with file and line."""
    return [pair_of(line, where) for line, where in read_lines(path)]


def pair_of(line: str, where: str) -> Pair:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise TrainingRefused(f"{where} is not JSON: {e.msg} at column {e.colno}") from e
    if not isinstance(row, dict):
        raise TrainingRefused(f'{where} is not an object with "prompt", "chosen" and "rejected"')
    split = row.get("split", "train")
    if split not in SPLITS:
        raise TrainingRefused(f"{where}: the split must be one of {', '.join(SPLITS)}")
    sides = [checked_messages(row.get(name), where, name) for name in ("prompt", "chosen", "rejected")]
    return Pair(*sides, held_out=split in HELD_OUT)


def tokenise_pairs(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerBase, stops: Collection[int], max_length: int
) -> TokenPairs:
    """The pairs in tokens; one that is longer than `max_length` is left out, as half an answer has no end to learn."""
    found = TokenPairs()
    for pair in pairs:
        tokens = tokens_of(pair, tokenizer, stops, max_length)
        if isinstance(tokens, str):
            found.left_out[tokens] += 1
        else:
            (found.held_out if pair.held_out else found.train).append(tokens)
    return found


def tokens_of(
    pair: Pair, tokenizer: PreTrainedTokenizerBase, stops: Collection[int], max_length: int
) -> TokenPair | str:
    """The pair in tokens, or the reason to leave it out."""
    if any(len(answer) != 1 or answer[0]["role"] != "assistant" for answer in (pair.chosen, pair.rejected)):
        return "several_turns"
    context = [{**turn, "learn": False} for turn in pair.prompt]
    sides: list[tuple[list[int], int]] = []
    for answer in (pair.chosen, pair.rejected):
        try:
            row = tokenise(tokenizer, [*context, {**answer[0], "learn": True}], stops)
        except TemplateMismatch:
            return "no_template"
        end = len(row.ids) - row.in_loss[::-1].index(True)
        if end > max_length:
            return "too_long"
        sides.append((row.ids[:end], row.in_loss.index(True)))
    (chosen, start), (rejected, other) = sides
    # Where a token spans the border of prompt and answer, the answers begin earlier.
    start = shared(chosen[: min(start, other)], rejected)
    if chosen[start:] == rejected[start:]:
        return "equal"
    return TokenPair(chosen[:start], chosen[start:], rejected[start:])


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
