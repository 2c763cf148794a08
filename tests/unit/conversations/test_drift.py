"""What drift says of the project's own conversations: of random parts, of a topic left out, of another product."""

import json
import random

import orjson
import pytest

from phi_assets.conversations import drift as drift_module
from phi_assets.conversations.drift import FEWEST_NEW, FEWEST_TRAINED_ON, drift, drift_since, new_rows, texts
from phi_assets.project import PROJECT
from phi_assets.settings import OWN_DATASET, Settings

MOST = Settings.model_fields["retrain_min_drift"].default
NEW_PRODUCT = PROJECT / "data" / "new_product" / "conversations.jsonl"


def conversations(path):
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [" ".join(message["content"] for message in row["messages"]) for row in rows]


@pytest.fixture(scope="module")
def own() -> list[str]:
    return conversations(OWN_DATASET)


def parted(texts: list[str], size: int, seed: int) -> tuple[list[str], list[str]]:
    mixed = random.Random(seed).sample(texts, len(texts))
    return mixed[size:], mixed[:size]


def publish(folder, rows):
    """A published folder's splits, a third of the rows in each."""
    folder.mkdir()
    for number, side in enumerate(("train", "validation", "test")):
        lines = [orjson.dumps(row) + b"\n" for row in rows[number::3]]
        (folder / f"{side}.jsonl").write_bytes(b"".join(lines))
    return folder


def row(name: str, text: str = "Hello?"):
    return {"id": name, "group": name, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("size", [FEWEST_NEW, 20, 50, 150])
def test_a_random_part_of_the_conversations_is_no_drift(own, size):
    found = [drift(*parted(own, size, seed)).distance for seed in range(5)]

    assert max(found) < MOST


def test_conversations_about_another_product_drift_wholly(own):
    found = drift(own, random.Random(0).sample(conversations(NEW_PRODUCT), FEWEST_NEW))

    assert found.distance > 0.95


@pytest.mark.parametrize("topic", ["warranty", "school", "Sprigg"])
def test_a_topic_that_was_never_trained_on_drifts(own, topic):
    about = [text for text in own if topic.lower() in text.lower()]
    others = [text for text in own if topic.lower() not in text.lower()]

    assert drift(others, about[:20]).distance > MOST


def test_another_language_drifts_also_one_that_is_written_without_spaces(own):
    chinese = [f"你们的客服电话是多少?我们的号码是{number}。" for number in range(20)]

    assert drift(own, chinese).distance > 0.95
    assert drift(chinese * 3, chinese).distance < 0.1


def test_too_few_are_not_judged(own):
    few = drift(own, conversations(NEW_PRODUCT)[: FEWEST_NEW - 1])
    little = drift(own[: FEWEST_TRAINED_ON - 1], own[100:200])

    assert (few.enough, few.distance, few.new, few.trained_on) == (False, 0.0, FEWEST_NEW - 1, len(own))
    assert not little.enough
    assert drift(own[:FEWEST_TRAINED_ON], own[100 : 100 + FEWEST_NEW]).enough


def test_the_same_conversations_give_the_same_number(own):
    old, new = parted(own, 20, seed=0)

    assert drift(iter(old), iter(new)) == drift(old, new)


def test_of_very_many_a_random_sample_is_compared_and_all_are_counted(own, monkeypatch):
    monkeypatch.setattr(drift_module, "_MOST", 100)
    ordered = own + conversations(NEW_PRODUCT)

    found = drift(ordered, ordered)

    assert (found.trained_on, found.new) == (len(ordered), len(ordered))
    assert found.distance < 0.3


def test_texts_without_any_word_are_compared_too():
    assert drift(["!!!", "?"] * 30, ["!!!", "?"] * 10).distance < 0.1


def test_new_rows_are_those_whose_id_stands_in_no_split_of_the_other(tmp_path):
    before = publish(tmp_path / "a", [row("1"), row("2"), row("3"), row("4")])
    after = publish(tmp_path / "b", [row("4"), row("5"), row("1"), row("6")])

    assert sorted(found["id"] for found in new_rows(before, after)) == ["5", "6"]
    assert new_rows(after, after) == []


def test_a_text_is_a_whole_conversation(tmp_path):
    two_turns = {
        **row("1", "Hi"),
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}],
    }
    folder = publish(tmp_path / "a", [two_turns])

    assert texts(folder) == ["Hi\nYes"]
    assert texts(folder, [row("2", "Other")]) == ["Other"]


def test_drift_since_compares_what_one_dataset_has_beyond_the_other(tmp_path, own):
    old = [row(str(number), text) for number, text in enumerate(own)]
    new = [row(f"new {number}", text) for number, text in enumerate(conversations(NEW_PRODUCT))]

    found = drift_since(publish(tmp_path / "a", old), publish(tmp_path / "b", old + new))

    assert (found.trained_on, found.new) == (len(old), len(new))
    assert found.distance > 0.95
