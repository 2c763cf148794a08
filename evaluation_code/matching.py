"""When a reply is right: it holds an accepted answer as whole tokens, and no competing one.

A competing answer is one that another question of the same file accepts. Without that rule a model that lists every
answer would always be right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evaluation_code.inputs import Question
from evaluation_code.normalise import normalise, normalise_answer


def holds(text: str, answer: str) -> bool:
    """Whether a normalised text holds a normalised answer as whole tokens: "14" is not in "140" nor in "14.5"."""
    return bool(answer) and f" {answer} " in f" {text} "


@dataclass(frozen=True)
class Key:
    """The accepted answers of one question and the competing ones, which show another meaning; all normalised."""

    accepted: frozenset[str]
    competing: frozenset[str]
    asked: str  # the question and its history; repeating their words is no evidence


@dataclass(frozen=True)
class Judgement:
    """The outcome for one reply, with the reason as readable text."""

    right: bool
    reason: str


def answer_keys(questions: Sequence[Question]) -> list[Key]:
    """One key per question, in order; its competing answers come from the other questions."""
    accepted = [frozenset(filter(None, map(normalise_answer, question.answers))) for question in questions]
    asked = [normalise(" \n ".join(message["content"] for message in question.messages)) for question in questions]
    return [
        Key(own, frozenset(_competing(own, text, accepted)), text) for own, text in zip(accepted, asked, strict=True)
    ]


def _competing(own: frozenset[str], asked: str, others: Sequence[frozenset[str]]) -> set[str]:
    # A question that shares an answer with this one asks for the same thing, so none of its answers competes.
    different = {answer for other in others if not own & other for answer in other}
    return {answer for answer in different if not compatible(answer, own, asked)}


def compatible(answer: str, own: frozenset[str], asked: str) -> bool:
    """Whether a reply to this question may hold `answer` and still be right."""
    return holds(asked, answer) or any(holds(answer, mine) or holds(mine, answer) for mine in own)


def judge(reply: str, key: Key) -> Judgement:
    """Right when the reply holds an accepted answer and no competing one."""
    text = normalise(reply)
    if not text:
        return Judgement(False, "empty")
    if not any(holds(text, answer) for answer in key.accepted):
        return Judgement(False, "holds no accepted answer")
    rivals = sorted(answer for answer in key.competing if holds(text, answer))
    if rivals:
        return Judgement(False, "also says " + ", ".join(rivals[:3]))
    return Judgement(True, "right")
