"""The models' answers side by side as a Markdown table, escaped because model output is untrusted."""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from evaluation_code.answering import Reply
from evaluation_code.inputs import Question

ROWS = 20
MAX_CHARACTERS = 240
# Markdown syntax inside a table cell, and GitHub's automatic links (scheme://, www., and mail addresses).
_MARKUP = re.compile(r"([\\`*_\[\]|~$@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)


def answers_table(questions: Sequence[Question], replies: Mapping[str, Sequence[Reply]], *, rows: int = ROWS) -> str:
    """A Markdown table of up to `rows` questions: the expected answer and each model's answer, wrong ones first.

    Questions that the tuned model gets wrong come first, then the others spread over the file.
    """
    if not questions:
        return "No evaluation questions: the test split alone decides.\n"
    head = ["question", "expected", *replies]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for place in _chosen(replies["tuned"], rows):
        said = [_reply(model[place]) for model in replies.values()]
        lines.append("| " + " | ".join([_asked(questions[place]), escape(questions[place].answers[0]), *said]) + " |")
    return "\n".join(lines) + "\n"


def _chosen(tuned: Sequence[Reply], rows: int) -> list[int]:
    wrong = [place for place, reply in enumerate(tuned) if not reply.judgement.right]
    right = [place for place, reply in enumerate(tuned) if reply.judgement.right]
    room = min(max(rows - len(wrong), 0), len(right))
    return [*wrong[:rows], *(right[number * len(right) // room] for number in range(room))]


def _asked(question: Question) -> str:
    turns = [message["content"] for message in question.messages if message["role"] == "user"]
    return " / ".join(escape(turn) for turn in turns)


def _reply(reply: Reply) -> str:
    reason = "" if reply.judgement.right else f" *({escape(reply.judgement.reason)})*"
    return f"{'✅' if reply.judgement.right else '❌'} {escape(reply.text)}{reason}"


def escape(text: str) -> str:
    """The text on one line, cut to 240 characters, with Markdown and HTML syntax escaped."""
    # Control and format characters could reorder or hide what is shown (U+202E, zero-width ones).
    text = "".join(" " if unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp"} else letter for letter in text)
    text = " ".join(text.split())
    if len(text) > MAX_CHARACTERS:
        text = text[: MAX_CHARACTERS - 1] + "…"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", text)
