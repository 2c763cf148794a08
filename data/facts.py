"""The fact base about an invented product, the Ostrel indoor garden, and the follow-ups that join its facts."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
FACT_FILES = ("models.toml", "device.toml", "buying.toml", "service.toml", "cloud.toml", "company.toml")
MODELS = ("nook", "loft")


@dataclass(frozen=True)
class Fact:
    """One fact: its answers (the first is canonical), sentences that state it, and questions that ask for it."""

    key: str
    answers: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True)
class Link:
    """A question that asks for the fact `target` and is understood only after a turn about the fact `source`."""

    source: str
    target: str
    question: str


@dataclass(frozen=True)
class Scene:
    """A first turn that names a subject but no fact, and the facts that may be asked for next."""

    user: str
    assistant: str
    targets: tuple[str, ...]


def load_facts() -> dict[str, Fact]:
    """All facts by key, in file order."""
    return facts_in(*(HERE / "facts" / name for name in FACT_FILES))


def load_new_product() -> dict[str, Fact]:
    """The facts about a product that came out later, by key."""
    return facts_in(HERE / "new_product" / "facts.toml")


def facts_in(*files: Path) -> dict[str, Fact]:
    """The facts of these files by key, in their order. Raises ValueError for a key that is used twice."""
    facts: dict[str, Fact] = {}
    for file in files:
        for row in tomllib.loads(file.read_text(encoding="utf-8"))["fact"]:
            fact = Fact(row["key"], tuple(row["answers"]), tuple(row["statements"]), tuple(row["questions"]))
            if fact.key in facts:
                raise ValueError(f"{file.name}: the key {fact.key!r} is used twice; rename one of the two facts")
            facts[fact.key] = fact
    return facts


def load_scenes() -> list[Scene]:
    """The scene-setting first turns."""
    return [Scene(row["user"], row["assistant"], tuple(row["to"])) for row in _followups()["scene"]]


def load_general() -> list[list[str]]:
    """Conversations on general knowledge, each as question, answer, question, answer."""
    return tomllib.loads((HERE / "general.toml").read_text(encoding="utf-8"))["conversations"]


def load_links() -> list[Link]:
    """Every follow-up wording once; if it may follow several facts, they alternate."""
    followups = _followups()
    links = [
        Link(row["from"][i % len(row["from"])], row["to"], question)
        for row in followups["link"]
        for i, question in enumerate(row["questions"])
    ]
    return links + list(_between_models(followups))


def same_model_questions() -> dict[str, list[str]]:
    """For each attribute, the questions that ask for it when the model is already known."""
    return _followups()["same_model"]


def _between_models(followups: dict) -> Iterator[Link]:
    attributes = list(followups["same_model"])
    for model, questions in followups["other_model"].items():
        other = MODELS[1 - MODELS.index(model)]
        for i, question in enumerate(questions):
            attribute = attributes[i % len(attributes)]
            yield Link(f"{attribute}_{other}", f"{attribute}_{model}", question)
    for i, (attribute, questions) in enumerate(followups["same_model"].items()):
        for j, question in enumerate(questions):
            model = MODELS[(i + j) % 2]
            known = attributes[(i + 1 + j) % len(attributes)]
            yield Link(f"{known}_{model}", f"{attribute}_{model}", question)


def _followups() -> dict:
    return tomllib.loads((HERE / "followups.toml").read_text(encoding="utf-8"))
