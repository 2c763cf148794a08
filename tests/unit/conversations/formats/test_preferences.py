import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from phi_assets.backends.dataset_versions import DatasetFolders
from phi_assets.conversations.prepare import Prepared
from tests.support.conversations import distinct, published

ASKED, GOOD, BAD = "Where is the ferry office?", "On the north quay, beside the mill.", "I would not know."
USER, CHOSEN, REJECTED = ({"role": "user", "content": ASKED}, {"role": "assistant", "content": GOOD},
                          {"role": "assistant", "content": BAD})  # fmt: skip
SHAPES: list[dict[str, Any]] = [
    {"prompt": ASKED, "chosen": GOOD, "rejected": BAD},
    {"question": ASKED, "chosen": GOOD, "rejected": BAD},
    {"instruction": ASKED, "input": "", "chosen": GOOD, "rejected": BAD},
    {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]},
    {"prompt": ASKED, "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]},
    {"chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]},
    {"chosen": f"\n\nHuman: {ASKED}\n\nAssistant: {GOOD}", "rejected": f"\n\nHuman: {ASKED}\n\nAssistant: {BAD}"},
    {
        "conversations": [{"from": "human", "value": ASKED}],
        "chosen": {"from": "gpt", "value": GOOD},
        "rejected": {"from": "gpt", "value": BAD},
    },
    {"input": {"messages": [USER]}, "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED]},
    {"instruction": ASKED, "input": "", "output": [GOOD, BAD]},
    {"instruction": ASKED, "output": [BAD, GOOD], "scores": [2.5, 4]},
    {"prompt": ASKED, "completion": [BAD, GOOD], "ranks": [2, 1]},
    {"prompt": ASKED, "chosen": json.dumps([USER, CHOSEN]), "rejected": json.dumps([USER, REJECTED])},
]


@pytest.mark.parametrize("row", SHAPES)
def test_a_pair_is_kept_for_preference_training_and_learned_only_by_setting(
    row: dict[str, Any], prepared: Callable[..., Prepared]
):
    stored = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}

    kept = prepared([row])
    assert published(kept) == []
    assert [without_place(pair) for pair in kept.preferences] == [stored]
    assert [(each.reason, each.kind) for each in kept.quarantine] == [("preference_pair", "policy")]
    assert "PHI_PREFERENCES=learn_chosen" in kept.quarantine[0].detail

    learned = prepared([row], preferences="learn_chosen")
    assert published(learned) == [[("user", ASKED), ("assistant", GOOD)]]
    assert [without_place(pair) for pair in learned.preferences] == [stored]
    assert learned.facts["unused_keys"] == {}


def without_place(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pair.items() if name not in ("id", "split")}


def test_of_three_ranked_answers_the_best_is_stored_against_each_other(prepared: Callable[..., Prepared]):
    done = prepared([{"instruction": ASKED, "output": ["first", "second", "third"]}])
    assert {(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in done.preferences} == {
        ("first", "second"),
        ("first", "third"),
    }
    assert len({pair["split"] for pair in done.preferences}) == 1


def test_a_list_of_one_answer_is_that_answer(prepared: Callable[..., Prepared]):
    assert published(prepared([{"instruction": ASKED, "output": [GOOD]}])) == [[("user", ASKED), ("assistant", GOOD)]]


def test_personal_data_of_a_pair_is_masked(prepared: Callable[..., Prepared]):
    done = prepared([{"prompt": ASKED, "chosen": "Write to jo.field@harbour-office.example.org", "rejected": BAD}])
    assert "jo.field" not in json.dumps([*done.preferences])


def test_a_pair_with_a_broken_answer_is_not_stored(prepared: Callable[..., Prepared]):
    done = prepared([{"prompt": ASKED, "chosen": GOOD, "rejected": "<|im_end|>"}])
    assert not done.preferences
    assert done.quarantine[0].reason == "template_token"


def test_a_pair_above_the_limits_of_length_is_not_stored(prepared: Callable[..., Prepared]):
    row = {"prompt": ASKED, "chosen": GOOD, "rejected": "far " * 40}
    kept = prepared([row], max_characters=150)
    assert not kept.preferences
    assert kept.quarantine[0].reason == "too_long"
    assert "PHI_MAX_CONVERSATION_CHARACTERS" in kept.quarantine[0].detail

    learned = prepared([row], max_characters=150, preferences="learn_chosen", long_conversations="cut")
    assert not learned.preferences
    assert published(learned) == [[("user", ASKED), ("assistant", GOOD)]]


def test_pairs_are_a_file_of_the_version_and_part_of_its_digest(tmp_path: Path, prepared: Callable[..., Prepared]):
    rows = [distinct(number) for number in range(30)]
    folders = DatasetFolders(tmp_path / "store")
    made = [prepared([*rows, *extra]) for extra in ([], SHAPES[:1], SHAPES[:1])]
    without, one, again = (
        folders.publish(each.split.rows, each.quarantine, each.facts, each.preferences) for each in made
    )

    assert without.digest != one.digest == again.digest
    assert not (without.folder / "preferences.jsonl").exists()
    lines = (one.folder / "preferences.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [*made[1].preferences]
    assert folders.verify(one.digest) == []
    (one.folder / "preferences.jsonl").chmod(0o600)
    (one.folder / "preferences.jsonl").write_text(lines[0].replace("quay", "pier") + "\n")
    assert folders.verify(one.digest) != []
