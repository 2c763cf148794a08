from typing import Any

import pytest

from phi_assets.conversations.formats.shapes import check_columns, parse_conversation
from phi_assets.conversations.rows import Rejected

QUESTION, ANSWER = "How far is it?", "Twelve miles."
PLAIN = [("user", QUESTION), ("assistant", ANSWER)]


def parse(row: dict[str, Any], **columns: str) -> list[tuple[str, str]]:
    return [(role, content) for role, content in parse_conversation(row, columns)]


def turn(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.guide("download-dataset")
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [turn("user", QUESTION), turn("assistant", ANSWER)]},
        {"messages": [turn("user", [{"type": "text", "text": QUESTION}]), turn("assistant", ANSWER)]},
        {"messages": [turn("User", [QUESTION]), turn("ASSISTANT", {"type": "output_text", "text": ANSWER})]},
        {"prompt": QUESTION, "prompt_id": "0a", "messages": [turn("user", QUESTION), turn("assistant", ANSWER)]},
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
        {"id": "x", "conversations": [{"from": "user", "value": QUESTION}, {"from": "chatgpt", "value": ANSWER}]},
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "bing", "value": ANSWER}], "system": ""},
        {"conversations": [turn("user", QUESTION), turn("assistant", ANSWER)], "tools": "[]", "images": []},
        {"instruction": QUESTION, "input": "", "output": ANSWER},
        {"instruction": QUESTION, "output": ANSWER, "history": [], "system": None, "text": "rendered"},
        {"prompt": QUESTION, "completion": ANSWER},
        {"prompt": [turn("user", QUESTION)], "completion": [turn("assistant", ANSWER)]},
        {"prompt": [turn("user", QUESTION)], "completion": ANSWER},
    ],
)
def test_every_known_shape_gives_the_same_conversation(row: dict[str, Any]):
    assert parse(row) == PLAIN


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": ANSWER}]},
        {"messages": [turn("user", QUESTION), turn("assistant", ANSWER)]},
        {"instruction": QUESTION, "input": "", "output": ANSWER},
        {"prompt": QUESTION, "completion": ANSWER},
    ],
)
def test_a_system_column_becomes_the_first_message(row: dict[str, Any]):
    assert parse({**row, "system": "Be brief."}) == [("system", "Be brief."), *PLAIN]


def test_a_system_column_joins_a_system_turn_unless_it_says_the_same():
    row = {"messages": [turn("system", "Be brief."), turn("user", QUESTION), turn("assistant", ANSWER)]}
    assert parse({**row, "system": "Be brief."})[0] == ("system", "Be brief.")
    assert parse({**row, "system": "You guide hikers."})[0] == ("system", "You guide hikers.\n\nBe brief.")


def test_alpaca_joins_instruction_and_input_and_puts_history_first():
    row = {
        "instruction": "Translate.",
        "input": "Guten Tag",
        "output": "Good day",
        "history": [["Hello", "Hi!"], ["Ready?", "Yes."]],
    }
    assert parse(row) == [
        ("user", "Hello"),
        ("assistant", "Hi!"),
        ("user", "Ready?"),
        ("assistant", "Yes."),
        ("user", "Translate.\n\nGuten Tag"),
        ("assistant", "Good day"),
    ]


def test_other_names_of_columns_and_roles_can_be_mapped():
    row = {"dialog": [{"speaker": "visitor", "text": QUESTION}, {"speaker": "Ranger", "text": ANSWER}]}
    columns = {"messages": "dialog", "role": "speaker", "content": "text", "user": "visitor", "assistant": "ranger"}
    assert parse(row, **columns) == PLAIN
    assert parse({"q": QUESTION, "a": ANSWER}, prompt="q", completion="a") == PLAIN


def test_a_mapped_column_wins_over_one_that_has_our_name():
    row = {"prompt": "template text", "question": QUESTION, "completion": ANSWER}
    assert parse(row, prompt="question") == PLAIN


def test_mapping_a_name_that_is_not_ours_names_the_nearest():
    with pytest.raises(ValueError, match="'mesages'; did you mean 'messages'"):
        check_columns({"mesages": "dialog"})


@pytest.mark.parametrize(
    ("row", "reason", "kind"),
    [
        ({"question": QUESTION, "reply": ANSWER}, "unknown_shape", "broken"),
        ({"messages": "not a list"}, "unknown_shape", "broken"),
        ({"text": "### Human: hello"}, "unknown_shape", "broken"),
        ({}, "unknown_shape", "broken"),
        ({"messages": [turn("user", QUESTION), turn("moderator", ANSWER)]}, "unknown_role", "broken"),
        ({"messages": [{"content": QUESTION}]}, "unknown_role", "broken"),
        ({"messages": [turn("user", 17)]}, "not_text", "broken"),
        ({"messages": [QUESTION, ANSWER]}, "not_text", "broken"),
        ({"instruction": QUESTION, "output": ANSWER, "history": [["only a question"]]}, "not_text", "broken"),
        ({"messages": [turn("user", QUESTION), turn("tool", "12")]}, "tool_call", "unsupported"),
        ({"messages": [turn("user", QUESTION), turn("function", "12")]}, "tool_call", "unsupported"),
        (
            {"messages": [turn("user", QUESTION), {**turn("assistant", None), "tool_calls": [{"id": "1"}]}]},
            "tool_call",
            "unsupported",
        ),
        ({"conversations": [{"from": "function_call", "value": "{}"}]}, "tool_call", "unsupported"),
        ({"conversations": [{"from": "observation", "value": "{}"}]}, "tool_call", "unsupported"),
        ({"messages": [turn("user", QUESTION)], "tools": [{"type": "function"}]}, "tools", "unsupported"),
        ({"messages": [turn("user", [{"type": "image_url", "image_url": {"url": "x"}}])]}, "image", "unsupported"),
        ({"messages": [turn("user", [{"type": "input_image", "file_id": "x"}])]}, "image", "unsupported"),
        ({"conversations": [{"from": "human", "value": "<image>"}], "image": "a.png"}, "image", "unsupported"),
        ({"messages": [turn("user", [{"type": "input_audio", "input_audio": {}}])]}, "audio", "unsupported"),
        ({"messages": [turn("user", [{"type": "file", "file": {}}])]}, "unsupported_part", "unsupported"),
        ({"messages": [turn("user", [{"type": "text", "text": None}])]}, "unsupported_part", "unsupported"),
    ],
)
def test_what_cannot_be_a_conversation_is_rejected_by_reason(row: dict[str, Any], reason: str, kind: str):
    with pytest.raises(Rejected) as caught:
        parse(row)
    assert (caught.value.reason, caught.value.kind) == (reason, kind)


def test_an_unknown_shape_names_the_keys_that_were_found():
    with pytest.raises(Rejected, match="keys found: question, reply; PHI_COLUMNS"):
        parse({"reply": ANSWER, "question": QUESTION})
