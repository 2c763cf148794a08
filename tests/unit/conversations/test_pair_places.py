"""A preference pair is held out with the conversations that ask what it asks."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends.dataset_versions import DatasetFolders
from phi_assets.conversations.prepare import Prepared
from phi_assets.conversations.quality_checks import check_control_tokens, check_leakage
from phi_assets.conversations.rows import Message
from tests.support.conversations import dialogue, distinct

ROWS = [distinct(number) for number in range(60)]
PLAIN: dict[str, Any] = {"minimum_split_rows": 1, "minimum_split_groups": 1}


def correction(prompt: Any, chosen: str = "Ask at the desk.", rejected: str = "I can not say.") -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def sides(prepared: Prepared) -> dict[str, str]:
    """The split of each row by its first question."""
    return {row.conversation[0].content: side for side, rows in prepared.split.rows.items() for row in rows}


def test_a_pair_is_on_the_side_of_the_conversation_that_has_its_prompt(prepared: Callable[..., Prepared]):
    asked = [row["messages"][0]["content"] for row in ROWS]
    extra = [correction(f"  {question.upper()}") for question in asked]
    done = prepared([*ROWS, *extra], **PLAIN)

    expected = sides(done)
    assert Counter(expected.values()) == {"train": 48, "validation": 6, "test": 6}
    found = {pair["prompt"][0]["content"].strip().lower(): pair["split"] for pair in done.preferences}
    assert found == {question.lower(): side for question, side in expected.items()}
    assert done.facts["pairs"] == {"train": 48, "validation": 6, "test": 6}


def test_a_later_turn_of_a_held_out_conversation_is_a_prompt_too(prepared: Callable[..., Prepared]):
    asked = [
        [
            *row["messages"],
            {"role": "user", "content": f"And the {n}th?"},
            {"role": "assistant", "content": f"{n} too."},
        ]
        for n, row in enumerate(ROWS)
    ]
    pairs = [correction([{"role": "system", "content": "Be brief."}, *messages[:3]]) for messages in asked]
    done = prepared([*({"messages": messages} for messages in asked), *pairs], **PLAIN)
    expected = sides(done)
    assert {pair["prompt"][1]["content"]: pair["split"] for pair in done.preferences} == expected
    assert set(expected.values()) == {"train", "validation", "test"}


def test_a_near_duplicate_of_a_held_out_conversation_is_held_out(prepared: Callable[..., Prepared]):
    texts = [
        f"{row['messages'][0]['content']} {' '.join(f'w{n}x{i}' for i in range(12))}" for n, row in enumerate(ROWS)
    ]
    rows = [dialogue(text, "It is in the hall.") for text in texts]
    pairs = [correction(f"{text} please", "It is in the hall.") for text in texts]
    done = prepared([*rows, *pairs], **PLAIN)
    expected = {f"{text} please": side for text, side in sides(done).items() if side != "train"}
    found = {pair["prompt"][0]["content"]: pair["split"] for pair in done.preferences}
    assert {text: found[text] for text in expected} == expected
    assert len(expected) == 12


def test_other_pairs_are_drawn_by_the_shares_and_one_prompt_is_on_one_side(prepared: Callable[..., Prepared]):
    pairs = [
        correction(f"Where is the {n} {n * 7} {n * 13} thing?", f"{n} here.", f"{n} {again} there.")
        for n in range(40)
        for again in range(2)
    ]
    done, repeated = prepared([*ROWS, *pairs], **PLAIN), prepared([*ROWS, *reversed(pairs), *pairs], **PLAIN)
    assert done.facts["pairs"] == {"train": 64, "validation": 8, "test": 8}
    assert done.facts["preference_pairs"] == 80
    assert [*done.preferences] == [*repeated.preferences]
    by_prompt: dict[str, set[str]] = {}
    for pair in done.preferences:
        by_prompt.setdefault(pair["prompt"][0]["content"], set()).add(pair["split"])
    assert all(len(each) == 1 for each in by_prompt.values())


def test_pairs_change_no_rows(prepared: Callable[..., Prepared]):
    pairs = [correction(f"Where is the {n} thing?") for n in range(30)]
    alone, beside = prepared(ROWS), prepared([*ROWS, *pairs])
    assert sides(alone) == sides(beside)
    assert alone.facts["pairs"] == {"train": 0, "validation": 0, "test": 0}


def publish(prepared: Prepared, folder: Path, pairs: list[dict[str, Any]]) -> Path:
    return DatasetFolders(folder).publish(prepared.split.rows, prepared.quarantine, prepared.facts, pairs).folder


@pytest.mark.parametrize("side", ["validation", "test"])
def test_a_training_pair_with_a_held_out_prompt_fails_the_check(
    prepared: Callable[..., Prepared], tmp_path: Path, side: Any
):
    done = prepared([*ROWS, *(correction(row["messages"][0]["content"]) for row in ROWS)], **PLAIN)
    assert check_leakage(publish(done, tmp_path / "right", [*done.preferences])).passed  # type: ignore[arg-type]
    wrong = [{**pair, "split": "train"} if pair["split"] == side else dict(pair) for pair in done.preferences]
    outcome = check_leakage(publish(done, tmp_path / "wrong", wrong))
    assert not outcome.passed
    assert "6 prompts of training pairs are in validation or test" in outcome.description


def test_a_control_token_in_a_pair_is_found(prepared: Callable[..., Prepared], tmp_path: Path):
    done = prepared([*ROWS, correction("Where is it?", rejected="Here <weather> there")])
    outcome = check_control_tokens(publish(done, tmp_path / "set", [*done.preferences]), ["<weather>"])  # type: ignore[arg-type]
    assert not outcome.passed
    assert "1 conversations or preference pairs hold <weather>" in outcome.description


def test_a_prompt_of_the_rows_is_that_of_the_pairs():
    from phi_assets.conversations.pair_places import prompt_key, prompt_keys

    row = (Message("system", "Be kind."), Message("user", "Where IS it?"), Message("assistant", "Here."))
    assert list(prompt_keys(row)) == [prompt_key([{"role": "user", "content": "where is  it?"}])]
