"""Decoding to text: whole characters, no stop strings, and the same text for any split into deltas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_code.text import TextStream


def decode_bytes(ids):
    """A tokenizer whose tokens are single bytes."""
    return bytes(ids).decode("utf-8", errors="replace")


def stream(text: str | bytes, stop: tuple[str, ...] = ()) -> tuple[list[str], TextStream]:
    raw = text.encode() if isinstance(text, str) else text
    pieces, made = [], TextStream(decode_bytes, stop)
    for byte in raw:
        pieces.append(made.push(byte))
        if made.stopped:
            return pieces, made
    pieces.append(made.finish())
    return pieces, made


def test_a_character_of_four_bytes_comes_whole_with_its_last_byte():
    pieces, _ = stream("a🙂b")

    assert pieces == ["a", "", "", "", "🙂", "b", ""]


def test_bytes_of_an_unfinished_character_are_dropped_at_the_end():
    pieces, _ = stream("ok 🙂".encode()[:-1])

    assert "".join(pieces) == "ok "


def test_broken_bytes_in_the_middle_do_not_hold_up_what_follows():
    pieces, _ = stream(b"a\xff\xfeb")

    assert "".join(pieces) == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("text", "stop", "kept"),
    [
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "one"), ""),
        ("aab", ("ab",), "a"),
        ("ababac", ("abac",), "ab"),
        ("one tw", ("two",), "one tw"),
        ("über 🙂 unter", ("🙂",), "über "),
        ("no stop here", ("STOP",), "no stop here"),
    ],
)
def test_text_ends_before_the_earliest_stop_string(text, stop, kept):
    pieces, made = stream(text, stop)

    assert "".join(pieces) == kept
    assert made.stopped == (kept != text)


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_none():
    pieces, _ = stream("xENx", ("END",))

    assert pieces == ["x", "", "", "ENx", ""]


def test_a_stop_string_hidden_in_one_token_is_found():
    made = TextStream(lambda ids: "".join("one END two" for _ in ids), ("END",))

    assert made.push(0) == "one "
    assert made.stopped


@given(st.text(max_size=30), st.lists(st.text(min_size=1, max_size=3), max_size=3))
def test_the_pieces_are_the_text_up_to_the_first_stop_string(text, stops):
    pieces, _ = stream(text, tuple(stops))

    text = text.replace("\ufffd", "?")
    places = [text.find(stop) for stop in stops if stop in text]
    expected = text[: min(places)] if places else text
    assert "".join(pieces).replace("\ufffd", "?") == expected or "\ufffd" in "".join(stops)
