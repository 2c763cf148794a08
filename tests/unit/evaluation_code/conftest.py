"""Tiny models that are right, untrained, wrong or over-trained, made once a session."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from phi_assets.files import locked
from tests.support.tiny_models import make_tiny_phi3
from tests.support.tiny_world import chat, general_pairs, product_pairs, train, write_questions, write_split


@dataclass(frozen=True)
class World:
    """Model folders and evaluation files; no test changes them."""

    base: Path
    good: Path
    test_file: Path
    train_file: Path
    questions: Path
    general: Path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Use one thread: models this small are slower with several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_phi3(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared by all workers of a session: the first creates it, and the others wait."""
    ours = tmp_path_factory.getbasetemp()
    session = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    folder, made = session / "world", session / "world" / "made"
    with locked(session / "world.lock"):
        if not made.is_file():
            make_world(folder)
            made.touch()
    return World(*(folder / name for name in MADE))


MADE = ("base", "good", "test.jsonl", "train.jsonl", "questions.jsonl", "general.jsonl")


def make_world(folder: Path) -> None:
    general = [chat(question, reply) for question, reply, _ in general_pairs()]
    product = [chat(question, reply) for question, reply, _ in product_pairs()]
    raw = make_tiny_phi3(folder / "raw")
    base = train(raw, folder / "base", general, steps=90, learning_rate=8e-3)
    train(base, folder / "good", general + product, steps=90, learning_rate=8e-3)
    write_split(folder / "test.jsonl", product_pairs())
    write_split(folder / "train.jsonl", general_pairs())
    write_questions(folder / "questions.jsonl", product_pairs())
    write_questions(folder / "general.jsonl", general_pairs())
