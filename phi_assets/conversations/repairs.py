"""Repairs what a person would repair without asking; each repair is recorded by its name, and can be switched off."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from itertools import groupby

from phi_assets.conversations.rows import ContextOnly, Message, Rejected

REPAIRS = (
    "byte_order_mark_removed",
    "control_characters_removed",
    "unicode_composed",
    "system_turns_joined",
    "turns_joined",
    "empty_system_removed",
    "leading_assistant_cut",
    "trailing_user_cut",
)
"""The names of all repairs, in the order in which they are made; PHI_REPAIRS chooses among them."""
# Cc without tab and line ends. Joiners, variation selectors and direction marks are of Cf and Mn: they stay.
CONTROL_CHARACTER = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f]")
BETWEEN_TURNS = "\n\n"


def has_control_character(text: str) -> bool:
    # Most texts are printable but for their line ends, which is found much faster than by the pattern.
    printable = text.replace("\n", "").isprintable()
    return not printable and bool(CONTROL_CHARACTER.search(text))


def repaired(messages: list[Message], wanted: Collection[str]) -> tuple[list[Message], list[str]]:
    """The messages with the `wanted` repairs, and the names of those that changed something.

    Raises Rejected `no_answer` when no user turn with an answer is left.
    """
    messages, changes = _characters(messages, wanted)
    if in_turn(messages) and messages[0].content.strip():  # most conversations, quickly
        return messages, changes
    messages = _joined(messages, wanted, changes)
    return _cut(messages, wanted, changes), changes


def in_turn(messages: Sequence[Message]) -> bool:
    """Whether user and assistant take turns, after at most one system message, and the assistant has the last word."""
    roles = [message.role for message in messages]
    first = 1 if roles[:1] == ["system"] else 0
    exchanges, rest = divmod(len(roles) - first, 2)
    return not rest and exchanges > 0 and roles[first:] == ["user", "assistant"] * exchanges


def _characters(messages: list[Message], wanted: Collection[str]) -> tuple[list[Message], list[str]]:
    whole = "".join([message.content for message in messages])
    if whole.isascii() and not has_control_character(whole):
        return messages, []
    changes: dict[str, bool] = dict.fromkeys(REPAIRS[:3], False)
    result = []
    for message in messages:
        text = message.content
        for name, change in (
            ("byte_order_mark_removed", lambda value: value.removeprefix("\ufeff")),
            ("control_characters_removed", lambda value: CONTROL_CHARACTER.sub("", value)),
            ("unicode_composed", lambda value: unicodedata.normalize("NFC", value)),
        ):
            if name in wanted and (new := change(text)) != text:
                changes[name], text = True, new
        result.append(message._replace(content=text))
    return result, [name for name, changed in changes.items() if changed]


def _joined(messages: list[Message], wanted: Collection[str], changes: list[str]) -> list[Message]:
    leading = 0
    while leading < len(messages) and messages[leading].role == "system":
        leading += 1
    system, turns = messages[:leading], messages[leading:]
    if leading > 1 and "system_turns_joined" in wanted:
        system, _ = [_one(system)], changes.append("system_turns_joined")
    if "turns_joined" in wanted:
        runs = [list(run) for _, run in groupby(turns, key=lambda message: message.role)]
        if len(runs) < len(turns) and all(run[0].role != "system" for run in runs):
            turns, _ = [_one(run) for run in runs], changes.append("turns_joined")
    return system + turns


def _one(run: list[Message]) -> Message:
    """Neighbouring turns of one speaker as one turn. Raises Rejected when only some of them are to be learned."""
    if len(run) == 1:
        return run[0]
    said = [message for message in run if message.content.strip()] or run[:1]
    if len({message.learn for message in said}) > 1:
        raise Rejected(
            "loss_mark",
            "unsupported",
            f"of {len(said)} neighbouring turns of {run[0].role} only some are to be learned",
        )
    kind = Message if said[0].learn else ContextOnly
    return kind(run[0].role, BETWEEN_TURNS.join(message.content for message in said))


def _cut(messages: list[Message], wanted: Collection[str], changes: list[str]) -> list[Message]:
    """Remove an empty system message, a leading assistant turn and a trailing user turn."""
    system, turns = [], messages
    if turns and turns[0].role == "system":
        system, turns = turns[:1], turns[1:]
        if not system[0].content.strip() and "empty_system_removed" in wanted:
            system, _ = [], changes.append("empty_system_removed")
    if turns and turns[0].role == "assistant" and "leading_assistant_cut" in wanted:
        turns, _ = turns[1:], changes.append("leading_assistant_cut")
    if turns and turns[-1].role == "user" and "trailing_user_cut" in wanted:
        turns, _ = turns[:-1], changes.append("trailing_user_cut")
    if not turns:
        raise Rejected("no_answer", "broken", "no user turn with an answer of the assistant after it")
    return system + turns
