from typing import Any

import pytest

from phi_assets.conversations.formats.shapes import check_columns, parse_conversation
from phi_assets.conversations.rows import Rejected

QUESTION, ANSWER = "How far is it?", "Twelve miles."
PLAIN = [("user", QUESTION), ("assistant", ANSWER)]


def parse(row: dict[str, Any], **columns: str) -> list[tuple[str, str]]:
    return [(role, content) for role, content in parse_conversation(row, columns).messages]


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


def test_turns_with_other_names_are_refused_with_the_setting_that_reads_them():
    row = {"messages": [{"speaker": "user", "text": QUESTION}, {"speaker": "assistant", "text": ANSWER}]}
    with pytest.raises(Rejected, match="PHI_COLUMNS=role=speaker,content=text reads them as turns"):
        parse(row)
    assert parse(row, role="speaker", content="text") == [("user", QUESTION), ("assistant", ANSWER)]


def unused(row: dict[str, Any], **columns: str) -> set[str]:
    return set(parse_conversation(row, columns).unused)


def test_every_filled_key_that_is_left_out_is_named():
    row = {
        "id": 7,
        "source": "log",
        "empty": None,
        "messages": [{**turn("user", QUESTION), "name": "Ada", "time": 3}, {**turn("assistant", ANSWER), "cost": None}],
    }
    assert unused(row) == {"id", "source", "messages[].name", "messages[].time"}
    assert unused({"instruction": QUESTION, "output": ANSWER, "text": "rendered"}) == {"text"}
    assert unused({"q": QUESTION, "a": ANSWER, "prompt_id": 1}, prompt="q", completion="a") == {"prompt_id"}


@pytest.mark.parametrize("answer", [
    {**turn("assistant", ANSWER), "reasoning_content": "The map says so."},
    turn("assistant", [{"type": "reasoning", "text": "The map says so."}, {"type": "text", "text": ANSWER}]),
    turn("assistant", [{"type": "thinking", "thinking": "The map says so."}, {"type": "text", "text": ANSWER}]),
])  # fmt: skip
def test_reasoning_is_left_out_and_named_or_kept_before_the_answer(answer: dict[str, Any]):
    row = {"messages": [turn("user", QUESTION), answer]}
    assert parse(row) == PLAIN
    assert len(unused(row)) == 1
    kept = parse_conversation(row, {}, frozenset({"reasoning"}))
    assert kept.messages[1] == ("assistant", f"<think>\nThe map says so.\n</think>\n\n{ANSWER}")
    assert kept.unused == frozenset()


def test_a_name_is_kept_before_what_its_user_says():
    row = {"messages": [{**turn("user", QUESTION), "name": "Ada"}, turn("assistant", ANSWER)]}
    assert parse_conversation(row, {}, frozenset({"name"})).messages[0] == ("user", f"Ada: {QUESTION}")


def test_tool_calls_are_kept_as_text_with_the_tools_in_the_system_message():
    call = {"id": "1", "type": "function", "function": {"name": "distance", "arguments": '{"to": "Arn"}'}}
    row = {
        "tools": [{"type": "function", "function": {"name": "distance"}}],
        "messages": [
            turn("user", QUESTION),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "12 miles"},
            turn("assistant", ANSWER),
        ],
    }
    kept = parse_conversation(row, {}, frozenset({"tool_calls"})).messages
    assert [message.role for message in kept] == ["system", "user", "assistant", "user", "assistant"]
    assert '"name":"distance"' in kept[0].content
    assert kept[2].content.startswith("<tool_call>\n{")
    assert "Arn" in kept[2].content
    assert kept[3].content == "<tool_response>\n12 miles\n</tool_response>"


@pytest.mark.parametrize("text", [
    '[{"role": "user", "content": "How far is it?"}, {"role": "assistant", "content": "Twelve miles."}]',
    "[{'role': 'user', 'content': 'How far is it?'}, {'role': 'assistant', 'content': \"Twelve miles.\"}]",
])  # fmt: skip
def test_turns_that_are_stored_as_text_are_read(text: str):
    assert parse({"id": "1", "messages": text}) == PLAIN
    assert parse({"conversations": text}) == PLAIN


def test_turns_as_text_that_is_not_json_are_refused_in_the_words_of_the_parser():
    with pytest.raises(Rejected, match=r"json_text: messages is text that is not JSON: .*line 1 column"):
        parse({"messages": '[{"role": "user", "content": "cut o'})


def export(*messages: tuple[str, Any]) -> dict[str, Any]:
    """A conversation in ChatGPT's export, with a branch that was edited away."""
    nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": ["0"]}}
    for number, (role, content) in enumerate(messages):
        message = {"author": {"role": role}, "content": content, "recipient": "all", "weight": 1.0}
        parent = str(number - 1) if number else "root"
        nodes[str(number)] = {"id": str(number), "message": message, "parent": parent, "children": [str(number + 1)]}
    old = {"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["An older wording"]}}
    nodes["old"] = {"id": "old", "message": old, "parent": "root", "children": []}
    return {"title": "A walk", "create_time": 1.5, "mapping": nodes, "current_node": str(len(messages) - 1)}


def said(*parts: Any) -> dict[str, Any]:
    return {"content_type": "text", "parts": list(parts)}


def test_of_a_chatgpt_export_the_last_branch_is_read():
    row = export(("system", said("")), ("user", said(QUESTION)), ("assistant", said(ANSWER)))
    assert parse(row) == PLAIN
    assert unused(row) == {"title", "create_time"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (("tool", {"content_type": "execution_output", "text": "12"}), "tool_call"),
        (("user", {"content_type": "multimodal_text", "parts": [{"asset_pointer": "x"}, "see"]}), "image"),
    ],
)
def test_tools_and_pictures_of_a_chatgpt_export_are_refused_by_name(message: tuple[str, Any], reason: str):
    with pytest.raises(Rejected, match=reason):
        parse(export(("user", said(QUESTION)), message, ("assistant", said(ANSWER))))


def test_several_texts_are_alternatives_and_not_parts():
    with pytest.raises(Rejected, match="alternatives: content is a list of 2 texts"):
        parse({"messages": [turn("user", QUESTION), turn("assistant", [ANSWER, "About twelve."])]})


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (
            {"dialog": [{"speaker": "Human", "text": QUESTION}, {"speaker": "Bot", "text": ANSWER}]},
            "PHI_COLUMNS=messages=dialog,role=speaker,content=text",
        ),
        ({"Question": QUESTION, "Response": ANSWER}, "PHI_COLUMNS=prompt=Question,completion=Response"),
        ({"text": f"### Human: {QUESTION}### Assistant: {ANSWER}"}, "give its turns as messages"),
        ({"input_ids": [1, 2], "labels": [1, 2]}, "tokens, not text"),
    ],
)
def test_a_hint_for_an_unknown_shape_is_one_that_can_help(row: dict[str, Any], hint: str):
    with pytest.raises(Rejected) as caught:
        parse(row)
    assert hint in str(caught.value)
    if hint.startswith("PHI_COLUMNS="):
        columns = dict(part.split("=") for part in hint.removeprefix("PHI_COLUMNS=").split(","))
        assert parse(row, **columns) == PLAIN
