"""The loss mask of a conversation: every assistant turn to be learned with its end token, and nothing else.

The mask comes from the tokenizer's own chat template, unchanged: rendering the turns before an assistant turn with
`add_generation_prompt=True` gives the exact prompt at inference time. The tokens after it, up to and including the
first stop token, are the ones that the model has to produce.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, Any]  # role, content, and `learn`: false for an assistant turn that is context only


class TemplateMismatch(ValueError):
    """The start or end of an assistant turn cannot be found with this chat template; the message says why."""


@dataclass(frozen=True)
class Tokens:
    """A conversation in tokens; `in_loss[i]` is true where the model has to produce `ids[i]`."""

    ids: list[int]
    in_loss: list[bool]


def tokenise(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], stops: Collection[int]) -> Tokens:
    """The tokens of `messages`, equal to those of `apply_chat_template(messages)`, with the mask of assistant turns.

    `stops` are the token ids that end a generation. Raises TemplateMismatch.
    """
    text = render(tokenizer, messages)
    # Needs a fast tokenizer: a slow one returns no offsets.
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids: list[int] = list(encoded["input_ids"])
    starts: list[int] = [start for start, _ in encoded["offset_mapping"]]
    # Not all_special_ids: it holds only tokens with a role, such as eos, and omits Phi's <|end|>.
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special} | set(stops)
    in_loss = [False] * len(ids)
    for i, message in enumerate(messages):
        if message["role"] == "assistant" and message.get("learn", True):
            first = first_token(starts, answer_start(tokenizer, messages, i, text))
            last = end_of_turn(tokenizer, ids, first, special, stops)
            in_loss[first : last + 1] = [True] * (last + 1 - first)
    return Tokens(ids, in_loss)


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, ask: bool = False) -> str:
    turns = [{"role": message["role"], "content": message["content"]} for message in messages]
    text: Any = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)
    return text


def answer_start(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], turn: int, text: str) -> int:
    """Offset in `text` at which the model starts to generate the assistant turn `messages[turn]`."""
    if not any(message["role"] == "user" for message in messages[:turn]):
        raise TemplateMismatch(f"turn {turn + 1} is an assistant turn without a user turn before it")
    prompt = render(tokenizer, messages[:turn], ask=True)
    if not text.startswith(prompt):
        raise TemplateMismatch(
            f"the chat template renders the turns before turn {turn + 1} differently once that turn is added, "
            "so the prompt at inference time does not occur in the training text"
        )
    return len(prompt)


def first_token(starts: list[int], offset: int) -> int:
    return next((i for i, start in enumerate(starts) if start >= offset), len(starts))


def end_of_turn(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], first: int, special: Collection[int], stops: Collection[int]
) -> int:
    """Index of the token that ends the turn starting at `first`."""
    last = next((i for i in range(first, len(ids)) if ids[i] in special), None)
    if last is None:
        raise TemplateMismatch("the chat template puts no end token after an assistant turn; generation would not stop")
    if ids[last] not in stops:
        raise TemplateMismatch(
            f"an assistant turn is followed by {tokenizer.convert_ids_to_tokens(ids[last])!r}, which does not stop "
            "generation: add it to eos_token_id in generation_config.json, or remove it from the content"
        )
    return last
