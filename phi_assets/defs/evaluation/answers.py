"""The models' answers to the evaluation questions, side by side."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from phi_assets import markdown
from phi_assets.markdown import Markdown

ROWS = 20
MAX_CHARACTERS = 240
MODELS = ("base", "tuned", "champion")


def read_questions(folder: Path) -> list[dict[str, Any]]:
    """Return the evaluation's rows of questions: messages, accepted answers, and each model's reply."""
    with (folder / "rows.jsonl").open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["kind"] == "question"]


def answers_table(questions: Sequence[Mapping[str, Any]], rows: int = ROWS) -> Markdown:
    """Return a table of up to `rows` questions: the expected answer and each model's answer, wrong ones first.

    Questions that the tuned model gets wrong come first, then the others spread over the file.
    """
    if not questions:
        return Markdown("No evaluation questions: the test split alone decides.")
    models = [name for name in MODELS if questions[0].get(name)]
    chosen = [
        (_asked(row["messages"]), row["answers"][0], *(_reply(row[name]) for name in models))
        for row in _chosen(questions, rows)
    ]
    return markdown.table(("question", "expected", *models), chosen, MAX_CHARACTERS)


def _chosen(questions: Sequence[Mapping[str, Any]], rows: int) -> list[Mapping[str, Any]]:
    wrong = [row for row in questions if not row["tuned"]["right"]]
    right = [row for row in questions if row["tuned"]["right"]]
    room = min(max(rows - len(wrong), 0), len(right))
    return [*wrong[:rows], *(right[number * len(right) // room] for number in range(room))]


def _asked(messages: Iterable[Mapping[str, str]]) -> Markdown:
    turns = (message["content"] for message in messages if message["role"] == "user")
    return markdown.joined((markdown.text(turn, MAX_CHARACTERS) for turn in turns), " / ")


def _reply(reply: Mapping[str, Any]) -> Markdown:
    mark = "✅" if reply["right"] else "❌"
    reason = "" if reply["right"] else f" *({markdown.text(reply['reason'])})*"
    return Markdown(f"{mark} {markdown.text(reply['reply'], MAX_CHARACTERS)}{reason}")
