"""Whether a conversation gives away what a question asks: then what is measured with the question says nothing."""

from collections.abc import Iterable, Sequence

from evaluation_code.inputs import Message, Question
from evaluation_code.matching import holds
from evaluation_code.normalise import normalise, normalise_answer

NEAR = 0.8  # Jaccard similarity of the words of two questions from which they ask the same


class Apart:
    """Finds conversations that share an answer or a question with `questions`."""

    def __init__(self, questions: Sequence[Question]) -> None:
        answers = (normalise_answer(answer) for question in questions for answer in question.answers)
        self._answers = sorted({answer for answer in answers if answer})
        self._asked = [_words(question.messages[-1]["content"]) for question in questions]

    def conflict(self, messages: Iterable[Message]) -> str:
        """The reason why the conversation must not be learned from, "holds <answer>" or "asks <question>"; or empty."""
        for message in messages:
            text = normalise(message["content"])
            held = next((answer for answer in self._answers if holds(text, answer)), None)
            if held is not None:
                return f"holds the answer {held!r}"
            words = frozenset(text.split())
            if message["role"] == "user" and any(_similarity(words, asked) >= NEAR for asked in self._asked):
                return f"asks nearly the same as a question: {message['content'][:80]!r}"
        return ""


def _words(text: str) -> frozenset[str]:
    return frozenset(normalise(text).split())


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))
