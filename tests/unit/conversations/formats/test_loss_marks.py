from typing import Any

import pytest

from phi_assets.conversations.cleaning import Cleaner
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.rows import Rejected, Row

QUESTION, WRONG, RIGHT = "Which lock is closed?", "None is.", "The fourth one, until May."


def learned(row: dict[str, Any], **options: Any) -> list[str]:
    """The answers of the row's conversation that training may learn."""
    (cleaned,) = Cleaner(CleaningOptions(**options)).clean(Row("raw.jsonl", 1, row))
    return [turn.content for turn in cleaned.conversation if turn.role == "assistant" and turn.learn]


def unused(row: dict[str, Any]) -> list[str]:
    cleaner = Cleaner(CleaningOptions())
    cleaner.clean(Row("raw.jsonl", 1, row))
    return sorted(cleaner.unused)


def two_answers(**marks: Any) -> dict[str, Any]:
    """A conversation whose first answer has the marks."""
    return {
        "messages": [
            {"role": "user", "content": QUESTION},
            {"role": "assistant", "content": WRONG, **marks},
            {"role": "user", "content": "Really?"},
            {"role": "assistant", "content": RIGHT},
        ]
    }


@pytest.mark.parametrize(
    "marks",
    [
        {"weight": 0},
        {"weight": 0.0},
        {"weight": "0"},
        {"train": False},
        {"trainable": "false"},
        {"learn": False},
        {"label": False},
        {"loss": False},
        {"loss_mask": 0},
        {"mask": True},
        {"masked": True},
        {"ignore": "true"},
        {"Weight": 0},
        {"trainOnTurn": False},
        {"loss-mask": 0},
        {"excludeFromLoss": True},
        {"do_not_learn": True},
    ],
)
def test_a_turn_that_is_marked_is_context_and_not_learned(marks: dict[str, Any]):
    assert learned(two_answers(**marks)) == [RIGHT]
    assert unused(two_answers(**marks)) == []


@pytest.mark.parametrize("marks", [{"weight": 1}, {"train": True}, {"mask": False}, {"label": True}, {"weight": None}])
def test_a_mark_that_says_learn_changes_nothing(marks: dict[str, Any]):
    assert learned(two_answers(**marks)) == [WRONG, RIGHT]


@pytest.mark.parametrize(
    "marks",
    [
        {"weight": 0.5},
        {"weight": "low"},
        {"mask": 1},
        {"loss_mask": [0, 0, 1]},
        {"train_detail": [{"begin_offset": 0, "train": False}]},
        {"token_mask": [1, 1]},
        {"training_detail": [{"begin_offset": 0, "train": False}]},
        {"loss_excluded": True},
    ],
)
def test_a_mark_that_is_not_understood_is_refused_by_name(marks: dict[str, Any]):
    with pytest.raises(Rejected, match=f"loss_mark: {next(iter(marks))} ") as caught:
        learned(two_answers(**marks))
    assert caught.value.kind == "unsupported"


@pytest.mark.parametrize("marks", [{"label": "greeting"}, {"label": 3}, {"weight_kg": 0}, {"masking_tape": "yes"}])
def test_names_that_only_resemble_marks_are_counted_as_not_used(marks: dict[str, Any]):
    assert learned(two_answers(**marks)) == [WRONG, RIGHT]
    assert unused(two_answers(**marks)) == [f"messages[].{next(iter(marks))}"]


@pytest.mark.parametrize("marks", [{"weights": [0, 0, 0, 1]}, {"weights": [0, 1]}, {"loss_mask": [1, 0, 1, 1]},
                                   {"masks": [False, True, False, False]}])  # fmt: skip
def test_a_list_of_the_row_marks_its_turns_or_its_answers(marks: dict[str, Any]):
    assert learned(two_answers() | marks) == [RIGHT]
    assert unused(two_answers() | marks) == []


def test_labels_of_tokens_are_refused_and_classes_are_not():
    with pytest.raises(Rejected, match="labels holds -100"):
        learned(two_answers() | {"labels": [-100, -100, 17]})
    assert learned(two_answers() | {"labels": [3, 1, 17]}) == [WRONG, RIGHT]


def test_a_list_of_another_length_is_refused():
    with pytest.raises(Rejected, match="weights has 3 items for 4 turns"):
        learned(two_answers() | {"weights": [0, 1, 1]})


@pytest.mark.parametrize(
    "row",
    [
        two_answers() | {"weight": 0},
        two_answers() | {"train": False},
        {"instruction": QUESTION, "input": "", "output": WRONG, "label": False},
        {"prompt": QUESTION, "completion": WRONG, "label": False},
        {"prompt": QUESTION, "completion": WRONG, "label": 0},
    ],
)
def test_a_row_that_is_marked_is_left_out_by_policy(row: dict[str, Any]):
    with pytest.raises(Rejected, match="not_to_learn") as caught:
        learned(row)
    assert caught.value.kind == "policy"


def test_a_row_of_which_nothing_is_to_be_learned_is_left_out():
    row = {"messages": [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": WRONG, "weight": 0}]}
    with pytest.raises(Rejected, match="nothing_to_learn"):
        learned(row)


def test_classes_of_rows_are_not_marks():
    row = {"instruction": QUESTION, "input": "", "output": RIGHT, "label": 0, "labels": ["locks", "canals"]}
    assert learned(row) == [RIGHT]
    assert unused(row) == ["label", "labels"]


def test_neighbouring_answers_of_which_one_is_to_be_learned_are_not_joined():
    row = two_answers(weight=0)
    del row["messages"][2]
    with pytest.raises(Rejected, match="only some are to be learned"):
        learned(row)
