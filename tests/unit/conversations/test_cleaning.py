from collections.abc import Callable
from typing import Any

import pytest

from phi_assets.conversations.cleaning import Cleaned, Cleaner
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.prepare import Prepared
from phi_assets.conversations.rows import Rejected, Row, conversation_id
from tests.support.conversations import dialogue, distinct, published, reasons


def clean(*turns: tuple[str, str], **options: Any) -> Cleaned:
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (cleaned,) = Cleaner(CleaningOptions(**options)).clean(Row("raw.jsonl", 1, row))
    return cleaned


ASK, SAY = ("user", "Hello?"), ("assistant", "Hi.")


def test_a_clean_conversation_is_kept_as_it_is():
    turns = (("system", " Be brief. "), ASK, SAY, ("user", "a\tb\r\n\n c < d [1]"), ("assistant", "1 <= 2, <b>ok</b> "))
    assert clean(*turns) == (turns, ())


@pytest.mark.parametrize(
    ("turns", "kept", "changes"),
    [
        ([SAY, ASK, SAY], [ASK, SAY], ("leading_assistant_cut",)),
        ([ASK, SAY, ASK], [ASK, SAY], ("trailing_user_cut",)),
        (
            [("system", "S"), SAY, ASK, SAY, ASK],
            [("system", "S"), ASK, SAY],
            ("leading_assistant_cut", "trailing_user_cut"),
        ),
        ([("system", "  "), ASK, SAY], [ASK, SAY], ("empty_system_removed",)),
        ([ASK, SAY, ("user", "")], [ASK, SAY], ("trailing_user_cut",)),
    ],
)  # fmt: skip
def test_a_turn_that_leads_nowhere_is_cut_and_recorded(turns: list[Any], kept: list[Any], changes: tuple[str, ...]):
    assert clean(*turns) == (tuple(kept), changes)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([ASK, ("system", "S"), SAY], "role_order"),
        ([ASK, SAY, ("system", "S"), ASK, SAY], "role_order"),
        ([], "no_answer"),
        ([ASK], "no_answer"),
        ([SAY], "no_answer"),
        ([("system", "S")], "no_answer"),
        ([ASK, ("assistant", " \n")], "empty_turn"),
        ([("user", "\u00a0"), SAY], "empty_turn"),
    ],
)
def test_wrong_order_and_empty_turns_are_broken(turns: list[Any], reason: str):
    with pytest.raises(Rejected) as caught:
        clean(*turns)
    assert (caught.value.reason, caught.value.kind) == (reason, "broken")


@pytest.mark.parametrize(
    "token",
    ["<|end|>", "<|user|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>",
     "<|fim_prefix|>", "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<start_of_turn>", "<end_of_turn>", "<bos>",
     "<\uff5cUser\uff5c>"],
)  # fmt: skip
def test_a_template_token_in_content_is_broken(token: str):
    for turns in ([("user", f"a{token}b"), SAY], [ASK, ("assistant", token)], [("system", token), ASK, SAY]):
        with pytest.raises(Rejected) as caught:
            clean(*turns)
        assert (caught.value.reason, caught.value.kind) == ("template_token", "broken")


@pytest.mark.parametrize(
    "text",
    [
        "x <| f |> g",
        "<||>",
        "a <|> b",
        "[INSTALL]",
        "<span>",
        "<|not a token|>",
        "List<s2>",
        "It was <s>40</s> 30 crowns.",
        "<s>old</s> new",
        "<p>was <s>40</s></p>",
        "<s>40</s><br/>30",
        "Write `<s>` before it.",
        "```html\n<s>gone</s>\n```",
    ],
)
def test_code_that_resembles_a_template_token_is_kept(text: str):
    assert clean(("user", text), SAY).changes == ()


@pytest.mark.parametrize(
    "text", ["<s>The whole answer.</s>", "<s> Begun", "Ended.</s>", "</s><s>", "<s>[INST] <b>x</b></s>"]
)
def test_a_struck_out_text_that_looks_like_a_template_is_broken(text: str):
    with pytest.raises(Rejected, match="template_token"):
        clean(ASK, ("assistant", text))


def test_tokens_of_another_model_can_be_named():
    assert clean(("user", "a ~EOT~ b"), SAY).changes == ()
    with pytest.raises(Rejected, match="template_token: ~EOT~"):
        clean(("user", "a ~EOT~ b"), SAY, template_tokens=("~EOT~",))


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x9d", "\x0c"])
def test_a_control_character_is_removed_or_without_that_repair_broken(character: str):
    asked = ("user", f"a{character}b")
    assert clean(asked, SAY) == ((("user", "ab"), SAY), ("control_characters_removed",))
    with pytest.raises(Rejected, match=f"control_character: U\\+00{ord(character):02X}"):
        clean(asked, SAY, repairs=())


def test_an_over_long_conversation_is_dropped_by_policy():
    assert clean(("user", "x" * 97), ("assistant", "yes"), max_characters=100).changes == ()
    with pytest.raises(Rejected) as caught:
        clean(("user", "x" * 98), ("assistant", "yes"), max_characters=100)
    assert (caught.value.reason, caught.value.kind) == ("too_long", "policy")


def test_exact_duplicates_ignore_case_white_space_and_compatibility_forms():
    one = clean(("user", "Hello  World"), ("assistant", "ﬁne")).conversation
    two = clean(("user", " hello\nworld "), ("assistant", "FINE")).conversation
    other = clean(("user", "hello world"), ("assistant", "fine!")).conversation
    swapped = clean(("user", "fine"), ("assistant", "hello world")).conversation
    assert conversation_id(one) == conversation_id(two)
    assert len({conversation_id(one), conversation_id(other), conversation_id(swapped)}) == 3


def test_the_first_of_exact_duplicates_is_kept_and_the_others_name_it(prepared: Callable[..., Prepared]):
    done = prepared([distinct(1), dialogue("Hello?", "Hi."), distinct(2), dialogue("HELLO? ", "hi.")])
    assert reasons(done) == {4: "exact_duplicate"}
    assert done.quarantine[0].detail == "the same as raw.jsonl, line 2"
    assert done.quarantine[0].kind == "duplicate"
    assert [("user", "Hello?"), ("assistant", "Hi.")] in published(done)
    assert done.facts["broken_share"] == 0
