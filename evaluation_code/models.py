"""Measures one model: bits of every test row, and its replies to every question."""

import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation_code.answering import GENERAL_NEW_TOKENS, MAX_NEW_TOKENS, Reply, ask
from evaluation_code.bits_per_byte import RowScore, score_conversations
from evaluation_code.inputs import Question, TestRow
from evaluation_code.progress import Progress


@dataclass(frozen=True)
class Subjects:
    """What the models are measured on."""

    test_rows: Sequence[TestRow]
    questions: Sequence[Question]
    general: Sequence[Question]


@dataclass(frozen=True)
class Measured:
    """One model's results, in the order of the subjects; a row that is longer than its context has None."""

    address: Path
    rows: list[RowScore | None]
    questions: list[Reply]
    general: list[Reply]


def measure_all(
    folders: dict[str, Path], subjects: Subjects, *, batch_size: int, progress: Progress
) -> dict[str, Measured]:
    """Each named model's results; a folder with two names is measured once."""
    known: dict[Path, Measured] = {}
    for name, folder in folders.items():
        address = folder.resolve()
        if address not in known:
            known[address] = _measure(name, address, subjects, batch_size, progress)
    return {name: known[folder.resolve()] for name, folder in folders.items()}


def _measure(name: str, folder: Path, subjects: Subjects, batch_size: int, progress: Progress) -> Measured:
    from transformers.utils import logging as transformers_logging

    from serving_code.engine import Engine
    from serving_code.model_folder import load_model_folder

    transformers_logging.disable_progress_bar()  # progress bars would clutter the run log
    began = time.monotonic()
    rows = len(subjects.test_rows)
    progress.begin(f"{name}: scoring {rows} test conversations")
    loaded = load_model_folder(folder, "float32")
    scores = score_conversations(
        loaded,
        [row.messages for row in subjects.test_rows],
        batch_size=batch_size,
        progress=lambda done: progress.done(done, rows),
    )
    del loaded
    gc.collect()  # frees the fp32 copy before the served one is loaded
    replies: list[list[Reply]] = []
    engine = Engine.load(folder) if subjects.questions or subjects.general else None
    asked = (
        ("evaluation", subjects.questions, MAX_NEW_TOKENS),
        ("general", subjects.general, GENERAL_NEW_TOKENS),
    )
    for kind, questions, most in asked:
        if engine is None or not questions:
            replies.append([])
            continue
        progress.begin(f"{name}: answering {len(questions)} {kind} questions")

        def done(count: int, total: int = len(questions)) -> None:
            progress.done(count, total)

        replies.append(ask(engine, questions, batch_size=batch_size, progress=done, max_new_tokens=most))
    progress.begin(f"{name}: measured in {time.monotonic() - began:.0f} s")
    return Measured(folder, scores, replies[0], replies[1])
