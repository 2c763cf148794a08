"""When a reply is right: it holds an accepted answer as whole tokens, and no competing one.

A competing answer is one that another question of the same file accepts. Without that rule a model that lists every
answer would always be right.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from evaluation_code.inputs import Question
from evaluation_code.korean import end_of_respaced
from evaluation_code.languages import DOT_THOUSANDS, language_of
from evaluation_code.negation import is_denied
from evaluation_code.normalise import UNSPACED, normalise, normalise_answer, without_dots
from evaluation_code.numbers import is_number, is_part_of_number
from evaluation_code.unspaced import has_kana, stands_in
from evaluation_code.word_forms import is_form

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def holds(text: str, answer: str) -> bool:
    """Whether a normalised text holds a normalised answer as words of its own.

    "14" is not in "140", "14.5", "14 million" nor "not 14". Words may have the endings of their language and script
    (`word_forms`); in scripts without spaces an answer has borders of its own (`unspaced`).
    """
    # No form changes the first letters of a Latin word. This rules out most pairs of text and answer cheaply.
    if not answer or (answer.isascii() and answer[0].isalpha() and answer[:2] not in text):
        return False
    tokens, language, japanese = _read(text)
    words = answer.split()
    if language in DOT_THOUSANDS:
        words = [without_dots(word) for word in words]
    if is_number(words[0]) and words[0] not in tokens:
        return False
    for start in range(len(tokens)):
        end = _end_of_match(tokens, start, words, language, japanese)
        if end is None:
            end = end_of_respaced(tokens, start, words)
        if end is None or is_part_of_number(tokens, start, end, language) or is_denied(tokens, start, end):
            continue
        return True
    return False


@lru_cache(maxsize=4096)
def _read(text: str) -> tuple[list[str], str, bool]:
    """The tokens of a normalised text, its language, and whether it has kana."""
    tokens, language = text.split(), language_of(text)
    if language in DOT_THOUSANDS:
        tokens = [without_dots(token) for token in tokens]
    return tokens, language, has_kana(text)


def _end_of_match(tokens: list[str], start: int, words: list[str], language: str, japanese: bool) -> int | None:
    """The position after the tokens that are the answer's words, beginning at `start`; None when they are not."""
    place = start
    for number, word in enumerate(words):
        first, last = number == 0, number == len(words) - 1
        if place >= len(tokens):
            return None
        token, after_number = tokens[place], place > 0 and is_number(tokens[place - 1])
        if token == word:
            pass
        elif UNSPACED_LETTER.match(word):
            borders = {"from_start": not first, "to_end": not last}
            if not stands_in(token, word, **borders, after_number=after_number, japanese=japanese):
                return None
        elif not is_form(token, word, language, first=first, last=last, after_number=after_number):
            return None
        place += 1
    return place


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
