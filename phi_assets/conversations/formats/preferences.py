"""Recognises answers that are compared with each other: pairs of a chosen and a rejected answer, and ranked lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from phi_assets.conversations.formats.turns import Reader, filled
from phi_assets.conversations.rows import Message, Rejected


class Preference(NamedTuple):
    """A prompt with two answers to it, the better one first."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


_PAIRS = (("chosen", "rejected"), ("preferred_output", "non_preferred_output"))


def pair_names(row: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names of the columns that hold a chosen and a rejected answer; None when the row has no such pair."""
    return next((names for names in _PAIRS if all(filled(row.get(name)) for name in names)), None)


def pair(row: Mapping[str, Any], names: tuple[str, str], prompt: list[Message], reader: Reader) -> Preference:
    """The preference of a row. An answer may be a text, a turn, or a whole conversation that repeats the prompt.

    Raises Rejected: `preference_pair` when the two answers do not continue one prompt.
    """
    chosen, rejected = (_side(row[name], name, reader) for name in names)
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    start = chosen[:shared]
    if start[: len(prompt)] == prompt or not prompt:
        prompt = start
    elif start and prompt[-len(start) :] != start:
        prompt = [*prompt, *start]
    answers = chosen[shared:], rejected[shared:]
    if not prompt or any(not answer or answer[0].role != "assistant" for answer in answers):
        raise Rejected(
            "preference_pair", "broken", f"{' and '.join(names)} are not answers of the assistant to one prompt"
        )
    return Preference(prompt, *answers)


def _side(value: Any, name: str, reader: Reader) -> list[Message]:
    if isinstance(value, list) and value and all(isinstance(item, dict) and "type" not in item for item in value):
        return reader.turns(value, name)
    if isinstance(value, dict) and ("role" in value or "from" in value):
        return reader.turns([value], name)
    text = reader.text(value)
    return _of_transcript(text) if text.lstrip().startswith("Human:") else [Message("assistant", text)]


def _of_transcript(text: str) -> list[Message]:
    """The turns of a text in which `Human:` and `Assistant:` begin paragraphs."""
    turns: list[Message] = []
    for part in ("\n\n" + text.strip()).split("\n\n"):
        if part.startswith("Human:"):
            turns.append(Message("user", part.removeprefix("Human:").strip()))
        elif part.startswith("Assistant:"):
            turns.append(Message("assistant", part.removeprefix("Assistant:").strip()))
        elif turns:
            turns[-1] = turns[-1]._replace(content=f"{turns[-1].content}\n\n{part}")
    return turns


def is_ranked(value: Any) -> bool:
    """Whether the value is a list of alternative answers, not the parts of one."""
    return isinstance(value, list) and len(value) > 1 and all(isinstance(item, str) for item in value)


def ranked(prompt: list[Message], answers: Sequence[str], row: Mapping[str, Any]) -> tuple[list[Preference], set[str]]:
    """The best answer against each other one, and the names of the columns that rank them.

    `scores` (higher is better) or `ranks` (lower is better) rank the answers; without them, the first is the best.
    """
    order, used = list(range(len(answers))), set[str]()
    for name, sign in (("scores", -1), ("score", -1), ("ranks", 1), ("rank", 1)):
        values = row.get(name)
        if isinstance(values, list) and len(values) == len(answers) and all(map(_is_number, values)):
            order.sort(key=lambda place, sign=sign, values=values: sign * values[place])
            used.add(name)
            break
    best, *others = [[Message("assistant", answers[place])] for place in order]
    return [Preference(prompt, best, other) for other in others if other != best], used


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
