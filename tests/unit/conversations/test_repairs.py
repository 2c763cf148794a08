import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from phi_assets.conversations.cleaning import Cleaner
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared
from phi_assets.conversations.repairs import REPAIRS
from phi_assets.conversations.rows import Rejected, Row
from tests.support.conversations import dialogue, reasons

ASK, SAY = ("user", "When?"), ("assistant", "At noon.")
DECOMPOSED = unicodedata.normalize("NFD", "어디에서 café")


def clean(*turns: tuple[str, str], **options: Any) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (cleaned,) = Cleaner(CleaningOptions(**options)).clean(Row("raw.jsonl", 1, row))
    return list(cleaned.conversation), cleaned.changes


REPAIRED = [
    ([("user", "Hi"), ASK, SAY], [("user", "Hi\n\nWhen?"), SAY], "turns_joined"),
    ([ASK, SAY, ("assistant", "Or later.")], [ASK, ("assistant", "At noon.\n\nOr later.")], "turns_joined"),
    ([ASK, ("assistant", ""), SAY], [ASK, SAY], "turns_joined"),
    ([("system", "A"), ("system", "B"), ASK, SAY], [("system", "A\n\nB"), ASK, SAY], "system_turns_joined"),
    ([("user", DECOMPOSED), SAY], [("user", "어디에서 café"), SAY], "unicode_composed"),
    ([("user", "\ufeffWhen?"), SAY], [ASK, SAY], "byte_order_mark_removed"),
    ([("user", "Wh\x00en\x1b?"), SAY], [ASK, SAY], "control_characters_removed"),
]


@pytest.mark.parametrize(("turns", "kept", "name"), REPAIRED)
def test_a_repair_is_made_and_recorded_by_its_name(turns: list[Any], kept: list[Any], name: str):
    assert clean(*turns) == (kept, (name,))


@pytest.mark.parametrize(("turns", "kept", "name"), REPAIRED)
def test_each_repair_can_be_switched_off(turns: list[Any], kept: list[Any], name: str):
    others = [each for each in REPAIRS if each != name]
    if name in ("unicode_composed", "byte_order_mark_removed"):
        assert clean(*turns, repairs=others) == (turns, ())
        return
    with pytest.raises(Rejected, match=r"role_order|control_character"):
        clean(*turns, repairs=others)


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # a non-joiner within a Persian word
        "👩\u200d🔧",  # a joined emoji
        "❤\ufe0f",  # a variation selector
        "\u200eabc\u200f \u2067\u05e9\u05dc\u05d5\u05dd\u2069",  # direction marks
        "क्\u200dष",
        "tab\tline\r\nend",
        "a\ufeffb",
    ],
)
def test_characters_that_scripts_need_stay(text: str):
    assert clean(("user", text), SAY) == ([("user", text), SAY], ())


def test_a_system_turn_between_others_is_not_joined_away():
    with pytest.raises(Rejected, match="role_order"):
        clean(ASK, SAY, ("system", "New rules."), ASK, SAY)


def test_repaired_rows_are_counted_by_repair(prepared: Callable[..., Prepared]):
    twice = {"messages": [{"role": "user", "content": part} for part in ("One.", "Tw\x00o.")]}
    twice["messages"].append({"role": "assistant", "content": "Three."})
    done = prepared([dialogue("A?", "B."), twice])
    assert reasons(done) == {2: "control_characters_removed+turns_joined"}
    assert done.quarantine[0].kind == "repaired"
    assert done.facts["reasons"] == {"control_characters_removed": 1, "turns_joined": 1}


def test_an_unknown_repair_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown 'nfd'"):
        CleaningOptions(repairs=("nfd",))
