"""The committed files of the default dataset, read once."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "data"


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def conversations() -> list[list[dict[str, str]]]:
    return [row["messages"] for row in read(DATA / "support" / "conversations.jsonl")]


@pytest.fixture(scope="session")
def evaluation() -> list[dict[str, Any]]:
    return read(DATA / "support" / "evaluation.jsonl")


@pytest.fixture(scope="session")
def general() -> list[dict[str, Any]]:
    return read(DATA / "general_questions.jsonl")


@pytest.fixture(scope="session")
def rewordings() -> list[dict[str, Any]]:
    return read(Path(__file__).parent / "rewordings.jsonl")
