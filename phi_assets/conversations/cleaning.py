"""Converts a row to one clean conversation, or rejects it with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from phi_assets.conversations.formats.shapes import parse_conversation
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.personal_data import mask
from phi_assets.conversations.rows import Conversation, Message, Rejected, Row

TEMPLATE_TOKEN = re.compile(
    r"<\|[A-Za-z0-9_.:/-]+\|>"  # ChatML, Llama 3, Phi, Qwen, GPT: <|im_start|>, <|eot_id|>, <|end|>, <|endoftext|>
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>"  # DeepSeek, with full-width bars
    r"|</?s>|<unk>|<bos>|<eos>"  # SentencePiece models
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"  # Llama 2, Mistral
    r"|<(?:start|end)_of_turn>"  # Gemma
)
CONTROL_CHARACTER = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]")
_CHEAP = re.compile(r"[<\[]")


class Cleaned(NamedTuple):
    """A conversation that is ready for training, and the changes that were made to it."""

    conversation: Conversation
    changes: tuple[str, ...]


@dataclass
class Cleaner:
    """Cleans rows with one set of options, and counts the masked entities."""

    options: CleaningOptions
    masked: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        own = "|".join(re.escape(token) for token in self.options.template_tokens if token)
        self._own_tokens = re.compile(own) if own else None

    def clean(self, row: Row) -> Cleaned:
        """The row's conversation: an optional system message, then user and assistant in turn, ending with assistant.

        Raises Rejected with a reason: those of `parse_conversation`, and role_order, empty_turn, no_answer,
        template_token, control_character, too_long, secret or personal_data.
        """
        messages, changes = _cut(parse_conversation(row.value, self.options.columns))
        _check_roles(messages)
        self._check_content(messages)
        length = sum(len(message.content) for message in messages)
        if length > self.options.max_characters:
            raise Rejected("too_long", "policy", f"{length} characters, the limit is {self.options.max_characters}")
        if self.options.personal_data != "keep":
            messages, masks = self._mask(messages)
            changes += masks
        return Cleaned(tuple(messages), tuple(changes))

    def _check_content(self, messages: list[Message]) -> None:
        for role, content in messages:
            if not content.strip():
                raise Rejected("empty_turn", "broken", f"a turn of {role} is empty")
            if found := CONTROL_CHARACTER.search(content):
                raise Rejected("control_character", "broken", f"U+{ord(found[0]):04X} in a turn of {role}")
            found = TEMPLATE_TOKEN.search(content) if _CHEAP.search(content) else None
            found = found or (self._own_tokens.search(content) if self._own_tokens else None)
            if found:
                raise Rejected("template_token", "broken", f"{found[0]} in a turn of {role}")

    def _mask(self, messages: list[Message]) -> tuple[list[Message], list[str]]:
        masked = [mask(message.content) for message in messages]
        secrets = [entity for item in masked for entity in item.secrets]
        personal = [entity for item in masked for entity in item.personal]
        if self.options.personal_data == "drop" and (secrets or personal):
            raise Rejected("secret" if secrets else "personal_data", "policy", ", ".join(sorted({*secrets, *personal})))
        self.masked.update(secrets + personal)
        changes = ["secret_masked"] * bool(secrets) + ["personal_data_masked"] * bool(personal)
        kept = [Message(message.role, item.text) for message, item in zip(messages, masked, strict=True)]
        return kept, changes


def _cut(messages: list[Message]) -> tuple[list[Message], list[str]]:
    """Remove an empty system message, a leading assistant turn and a trailing user turn; return the changes too."""
    system, turns, changes = [], messages, []
    if turns and turns[0].role == "system":
        system, turns = turns[:1], turns[1:]
        if not system[0].content.strip():
            system, changes = [], ["empty_system_removed"]
    if turns and turns[0].role == "assistant":
        turns, changes = turns[1:], [*changes, "leading_assistant_cut"]
    if turns and turns[-1].role == "user":
        turns, changes = turns[:-1], [*changes, "trailing_user_cut"]
    if not turns:
        raise Rejected("no_answer", "broken", "no user turn with an answer of the assistant after it")
    return system + turns, changes


def _check_roles(messages: list[Message]) -> None:
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if message.role != expected:
            raise Rejected("role_order", "broken", f"turn {number + 1} is of {message.role}, expected {expected}")
    if len(turns) % 2:
        raise Rejected("role_order", "broken", "the last turn is not of assistant")
