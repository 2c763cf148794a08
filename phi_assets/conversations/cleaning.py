"""Converts a row to clean conversations, or rejects it with a reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from phi_assets.conversations.formats.preferences import Preference
from phi_assets.conversations.formats.shapes import Parsed, parse_conversation
from phi_assets.conversations.long_conversations import above_limits, fitted
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.personal_data import mask
from phi_assets.conversations.repairs import CONTROL_CHARACTER, has_control_character, in_turn, repaired
from phi_assets.conversations.rows import Conversation, Message, Rejected, Row
from phi_assets.conversations.template_tokens import find_template_token


class Cleaned(NamedTuple):
    """A conversation that is ready for training, and the changes that were made to it."""

    conversation: Conversation
    changes: tuple[str, ...]


@dataclass
class Cleaner:
    """Cleans rows with one set of options; counts the masked entities, and the rows with each unused key.

    `preferences` holds the clean preference pairs found since the caller last emptied it.
    """

    options: CleaningOptions
    masked: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    preferences: list[Preference] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = "|".join(re.escape(token) for token in self.options.template_tokens if token)
        self._own_tokens = re.compile(own) if own else None
        self._keep = frozenset(self.options.keep_fields)
        self._repairs = frozenset(self.options.repairs)
        if self.options.names_model and self.options.personal_data != "keep":
            from phi_assets.conversations.names_model import load

            load(self.options.names_model)  # while spaCy can still find torch, which Presidio does without

    def clean(self, row: Row) -> list[Cleaned]:
        """The row's conversations: an optional system message, then user and assistant in turn, ending with assistant.

        There are several only when a long one is split. Raises Rejected with a reason: those of `parse_conversation`,
        and role_order, empty_turn, no_answer, nothing_to_learn, template_token, control_character, preference_pair,
        too_long, secret or personal_data.
        """
        parsed = parse_conversation(row.value, self.options.columns, self._keep)
        self.unused.update(parsed.unused)
        if parsed.preferences:
            self._take_preferences(parsed)
        messages, changes = self._checked(parsed.messages)
        if not any(message.learn for message in messages if message.role == "assistant"):
            raise Rejected("nothing_to_learn", "policy", "every turn of the assistant is marked as context only")
        pieces, cut = fitted(messages, self.options)
        cleaned = []
        for piece in pieces:
            masked, masks = self._mask(piece)
            cleaned.append(Cleaned(tuple(masked), (*changes, *cut, *masks)))
        return cleaned

    def _take_preferences(self, parsed: Parsed) -> None:
        """Collect the row's pairs. Raises Rejected when its chosen answer is not to be learned."""
        for preference in parsed.preferences:
            sides = [
                self._checked([*preference.prompt, *answer])[0] for answer in (preference.chosen, preference.rejected)
            ]
            if excess := next(filter(None, (above_limits(side, self.options) for side in sides)), ""):
                if self.options.preferences == "keep":
                    raise Rejected("too_long", "policy", excess)
                continue  # half an answer is no better than another; its conversation may be cut or split
            chosen, rejected = (self._mask(side)[0] for side in sides)
            # The repairs may have joined or cut turns of the prompt, in both alike.
            shared = next(
                (place for place, (one, two) in enumerate(zip(chosen, rejected, strict=False)) if one != two), 0
            )
            if shared and chosen[shared].role == "assistant":
                self.preferences.append(Preference(chosen[:shared], chosen[shared:], rejected[shared:]))
        if self.options.preferences == "keep":
            raise Rejected(
                "preference_pair",
                "policy",
                "stored in preferences.jsonl for preference training; PHI_PREFERENCES=learn_chosen also learns the "
                "chosen answer",
            )

    def _checked(self, messages: list[Message]) -> tuple[list[Message], list[str]]:
        """The messages after repairs, in an order and with a content that training can use. Raises Rejected."""
        messages, changes = repaired(messages, self._repairs)
        _check_roles(messages)
        self._check_content(messages)
        return messages, changes

    def _check_content(self, messages: list[Message]) -> None:
        for role, content in messages:
            if not content or content.isspace():
                raise Rejected("empty_turn", "broken", f"a turn of {role} is empty")
            if has_control_character(content) and (found := CONTROL_CHARACTER.search(content)):
                raise Rejected("control_character", "broken", f"U+{ord(found[0]):04X} in a turn of {role}")
            token = find_template_token(content)
            if not token and self._own_tokens and (own := self._own_tokens.search(content)):
                token = own[0]
            if token:
                raise Rejected("template_token", "broken", f"{token} in a turn of {role}")

    def _mask(self, messages: list[Message]) -> tuple[list[Message], list[str]]:
        if self.options.personal_data == "keep":
            return messages, []
        masked = [mask(message.content, self.options.regions, self.options.names_model) for message in messages]
        secrets = [entity for item in masked for entity in item.secrets]
        personal = [entity for item in masked for entity in item.personal]
        if self.options.personal_data == "drop" and (secrets or personal):
            raise Rejected("secret" if secrets else "personal_data", "policy", ", ".join(sorted({*secrets, *personal})))
        self.masked.update(secrets + personal)
        changes = ["secret_masked"] * bool(secrets) + ["personal_data_masked"] * bool(personal)
        kept = [message._replace(content=item.text) for message, item in zip(messages, masked, strict=True)]
        return kept, changes


def _check_roles(messages: list[Message]) -> None:
    if in_turn(messages):
        return
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        expected = "assistant" if number % 2 else "user"
        if message.role != expected:
            raise Rejected("role_order", "broken", f"turn {number + 1} is of {message.role}, expected {expected}")
    if len(turns) % 2:
        raise Rejected("role_order", "broken", "the last turn is not of assistant")
