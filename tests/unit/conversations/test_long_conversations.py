from collections.abc import Callable
from typing import Any

import pytest

from phi_assets.conversations.cleaning import Cleaned, Cleaner
from phi_assets.conversations.long_conversations import estimated_tokens
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared
from phi_assets.conversations.rows import Rejected, Row
from tests.support.conversations import WORDS

SYSTEM = {"role": "system", "content": "You keep the log."}


def talk(exchanges: int, words: int = 20, salt: str = "") -> dict[str, Any]:
    """A conversation of a system message and exchanges of twice so many words."""
    turns = [SYSTEM]
    for number in range(exchanges):
        for role in ("user", "assistant"):
            text = " ".join(WORDS[(number * 7 + place * 5 + len(role)) % len(WORDS)] for place in range(words))
            turns.append({"role": role, "content": f"{salt}{role} {number}: {text}"})
    return {"messages": turns}


def clean(row: dict[str, Any], **options: Any) -> list[Cleaned]:
    return Cleaner(CleaningOptions(**options)).clean(Row("raw.jsonl", 1, row))


def numbers(cleaned: Cleaned, *, learned: bool = True) -> list[int]:
    """The numbers of the exchanges that are learned, or that are context."""
    answers = [turn for turn in cleaned.conversation if turn.role == "assistant" and turn.learn is learned]
    return [int(turn.content.split()[1].rstrip(":")) for turn in answers]


def test_a_long_conversation_is_dropped_by_default_in_the_words_of_its_setting():
    with pytest.raises(Rejected, match=r"too_long: about \d+ tokens, the limit is 300 \(PHI_MAX_CONVERSATION_TOKENS\)"):
        clean(talk(8), max_tokens=300)
    with pytest.raises(Rejected, match=r"the limit is 900 \(PHI_MAX_CONVERSATION_CHARACTERS\)") as caught:
        clean(talk(8), max_characters=900)
    assert caught.value.kind == "policy"


@pytest.mark.parametrize("limit", [{"max_tokens": 300}, {"max_characters": 900}])
def test_a_cut_keeps_the_first_exchanges_whole(limit: dict[str, int]):
    (cut,) = clean(talk(8), long_conversations="cut", **limit)
    assert cut.changes == ("long_conversation_cut",)
    assert numbers(cut) == list(range(len(numbers(cut))))
    assert 1 < len(numbers(cut)) < 8
    assert cut.conversation[0].role == "system"
    assert cut.conversation[-1].role == "assistant"


@pytest.mark.parametrize("limit", [{"max_tokens": 400}, {"max_characters": 1300}])
def test_a_split_learns_each_exchange_once_and_keeps_the_one_before_as_context(limit: dict[str, int]):
    pieces = clean(talk(8), long_conversations="split", **limit)
    assert len(pieces) > 1
    assert [number for piece in pieces for number in numbers(piece)] == list(range(8))
    for piece in pieces[1:]:
        assert numbers(piece, learned=False) == [numbers(piece)[0] - 1]
        assert piece.conversation[0].content == SYSTEM["content"]
    assert numbers(pieces[0], learned=False) == []
    for piece in pieces:
        text = [turn.content for turn in piece.conversation]
        assert sum(map(len, text)) <= limit.get("max_characters", 32_000)


def test_an_exchange_that_is_too_long_alone_is_left_out_of_a_split():
    row = talk(5)
    row["messages"][5]["content"] = "word " * 2_000
    pieces = clean(row, long_conversations="split", max_tokens=400)
    assert [number for piece in pieces for number in numbers(piece)] == [0, 1, 3, 4]


@pytest.mark.parametrize("way", ["cut", "split"])
def test_one_exchange_that_is_too_long_is_dropped(way: str):
    with pytest.raises(Rejected, match="too_long: its first exchange alone"):
        clean(talk(1, words=500), long_conversations=way, max_tokens=300)


def test_the_parts_of_a_split_conversation_are_one_group(prepared: Callable[..., Prepared]):
    rows = [talk(8, salt=f"{number} {WORDS[number % len(WORDS)]} ") for number in range(24)]
    done = prepared(rows, long_conversations="split", max_tokens=400, near_duplicate_threshold=1.0)
    groups: dict[str, set[str]] = {}
    for side, split in done.split.rows.items():
        for row in split:
            groups.setdefault(row.conversation[1].content.split()[0], set()).add(f"{side} {row.group}")
    assert len(groups) == 24
    assert all(len(places) == 1 for places in groups.values())
    assert sum(done.split.counts().values()) > 24
    assert done.facts["reasons"] == {"long_conversation_split": 24}


def test_the_estimate_counts_words_digits_signs_and_bytes():
    assert estimated_tokens("Pump 12, now!") == 1 + 2 + 1 + 1 + 1
    assert estimated_tokens("extraordinary") == 3
    assert estimated_tokens("필터") == 6
