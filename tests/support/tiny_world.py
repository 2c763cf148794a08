"""Synthetic facts that tiny models can memorise: general ones of the base, and a product's support questions."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluation_code.bits_per_byte import encode
from evaluation_code.inputs import Message

SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "no", "pi", "ru", "sa", "te", "vo", "zu")
LANDS = 28
LAMPS = 24


def general_pairs() -> list[tuple[str, str, str]]:
    """Return question, full reply and accepted answer of the facts that the tiny base knows."""
    return [(f"capital of {_word(i)}?", f"It is {_word(i + 500)}.", _word(i + 500)) for i in range(LANDS)]


def product_pairs() -> list[tuple[str, str, str]]:
    """Return question, full reply and accepted answer of the facts that only a tuned model can know."""
    return [
        (f"code of lamp {_word(i + 900)}?", f"Thank you for asking. The code is {100 + 7 * i}.", str(100 + 7 * i))
        for i in range(LAMPS)
    ]


def chat(question: str, reply: str) -> list[Message]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]


def write_questions(path: Path, pairs: Sequence[tuple[str, str, str]]) -> Path:
    rows = [{"messages": chat(question, "")[:1], "answers": [answer]} for question, _, answer in pairs]
    return write_lines(path, rows)


def write_split(path: Path, pairs: Sequence[tuple[str, str, str]]) -> Path:
    rows = [
        {"id": f"id of {question}", "group": f"group of {question}", "messages": chat(question, reply)}
        for question, reply, _ in pairs
    ]
    return write_lines(path, rows)


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train(
    source: Path, target: Path, conversations: Sequence[Sequence[Message]], *, steps: int, learning_rate: float
) -> Path:
    """Train a copy of the model in `source` on all conversations at each step; write it to `target` and return that."""
    import torch

    from serving_code.model_folder import load_model_folder

    torch.manual_seed(0)
    loaded = load_model_folder(source, "float32")
    model = loaded.model
    rows = [encode(loaded.tokenizer, messages, loaded.end_ids) for messages in conversations]
    width = max(len(row.ids) for row in rows)
    ids, labels = torch.zeros(len(rows), width, dtype=torch.long), torch.full((len(rows), width), -100)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
        scored = list(row.scored)
        labels[number, scored] = ids[number, scored]
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * min(1.0, (step + 1) / 10, 2 * (steps - step) / steps)
        model(input_ids=ids, labels=labels, use_cache=False).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(target)
    loaded.tokenizer.save_pretrained(target)
    return target


def _word(number: int) -> str:
    return "".join(random.Random(number).choices(SYLLABLES, k=3)).capitalize()
