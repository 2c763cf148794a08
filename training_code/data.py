"""Reads conversations from JSON Lines and turns them into token rows: tokenised, masked, cut, packed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chat_template import Message, TemplateMismatch, Tokens, tokenise
from .errors import TrainingRefused

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

# The label that the loss ignores, in torch's cross entropy and in transformers.
IGNORED = -100
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class TokenRows:
    """The conversations of one file as tokens; `cut` of them were longer than max_length."""

    rows: list[Tokens]
    conversations: list[list[Message]]
    cut: int

    @property
    def tokens(self) -> int:
        return sum(len(row.ids) for row in self.rows)

    @property
    def tokens_in_loss(self) -> int:
        return sum(sum(row.in_loss) for row in self.rows)


def read_conversations(path: Path) -> list[list[Message]]:
    """The messages of each line of a JSON Lines file. Raises TrainingRefused with file and line."""
    conversations = [messages_of(line, where) for line, where in read_lines(path)]
    if not conversations:
        raise TrainingRefused(f"{path} holds no conversation")
    return conversations


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a text file that are not blank, each with its place. Raises TrainingRefused."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise TrainingRefused(f"cannot read {path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise TrainingRefused(f"{path} is not UTF-8 at byte {e.start}") from e
    # Not splitlines(): JSON strings may hold unescaped U+2028 and similar characters, which do not end a line of JSON.
    return [(line, f"{path}:{n}") for n, line in enumerate(text.split("\n"), 1) if line.strip()]


def messages_of(line: str, where: str) -> list[Message]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as e:
        raise TrainingRefused(f"{where} is not JSON: {e.msg} at column {e.colno}") from e
    return checked_messages(row.get("messages") if isinstance(row, dict) else None, where, "messages")


def checked_messages(messages: Any, where: str, name: str) -> list[Message]:
    """The turns of field `name`, each with role, content and learn. Raises TrainingRefused."""
    if not isinstance(messages, list) or not messages:
        raise TrainingRefused(f'{where} has no list of "{name}"')
    for turn, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise TrainingRefused(f"{where}, turn {turn}: the role must be one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise TrainingRefused(f"{where}, turn {turn}: the content must be text")
        if not isinstance(message.get("learn", True), bool):
            raise TrainingRefused(f"{where}, turn {turn}: learn must be true or false")
    return [{"role": each["role"], "content": each["content"], "learn": each.get("learn", True)} for each in messages]


def load_rows(
    path: Path, tokenizer: PreTrainedTokenizerBase, stops: Collection[int], max_length: int, max_cut_share: float
) -> TokenRows:
    """The token rows of a file, cut to `max_length` tokens. Raises TrainingRefused.

    A conversation without an assistant token among its first `max_length` tokens is left out, and counted as cut.
    """
    conversations = read_conversations(path)
    kept: list[tuple[Tokens, list[Message]]] = []
    cut = 0
    for n, messages in enumerate(conversations, 1):
        try:
            row = tokenise(tokenizer, messages, stops)
        except TemplateMismatch as e:
            raise TrainingRefused(f"{path}, conversation {n}: {e}") from e
        cut += len(row.ids) > max_length
        row = Tokens(row.ids[:max_length], row.in_loss[:max_length])
        if any(row.in_loss):
            kept.append((row, messages))
    if cut / len(conversations) > max_cut_share:
        raise TrainingRefused(
            f"{cut} of {len(conversations)} conversations in {path} have more than max_length = {max_length} tokens, "
            f"which is above max_truncated_share = {max_cut_share}: raise max_length, or shorten the data"
        )
    if not kept:
        raise TrainingRefused(f"{path} has no assistant turn within {max_length} tokens: there is nothing to learn")
    return TokenRows([row for row, _ in kept], [messages for _, messages in kept], cut)


def labels_of(row: Tokens) -> list[int]:
    """The token ids where they are in the loss, else -100; -100 for the first token, which has no predecessor."""
    labels = [i if learn else IGNORED for i, learn in zip(row.ids, row.in_loss, strict=True)]
    return [IGNORED, *labels[1:]]


def as_dataset(
    rows: Sequence[Tokens],
    *,
    packing: bool,
    packed_length: int,
    seed: int,
    label: Callable[[Tokens], list[int]] = labels_of,
) -> Dataset:
    """A dataset that the trainer uses as it is: input_ids, labels (-100 outside the loss), seq_lengths.

    With `packing`, conversations share rows of up to `packed_length` tokens, best fit decreasing; a longer one gets a
    row of its own. `seq_lengths` holds the length of each, so that attention never crosses conversations. The labels
    of a conversation are those that `label` returns.
    """
    from datasets import Dataset, concatenate_datasets
    from trl.data_utils import pack_dataset

    columns = [{"input_ids": row.ids, "labels": label(row), "seq_lengths": [len(row.ids)]} for row in rows]
    short = [row for row in columns if packing and len(row["input_ids"]) <= packed_length]
    if not short:
        return Dataset.from_list(columns)
    # Shuffled before packing, so that conversations that share a row are not neighbours in the file.
    loose = Dataset.from_list(short).select_columns(["input_ids", "labels"]).shuffle(seed=seed)
    packed = pack_dataset(loose, packed_length, "bfd", {"batch_size": len(loose)})
    long: list[dict[str, Any]] = [row for row in columns if len(row["input_ids"]) > packed_length]
    if not long:
        return packed
    return concatenate_datasets([packed, Dataset.from_list(long, features=packed.features)])
