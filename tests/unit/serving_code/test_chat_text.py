"""One reading of roles and contents, by data preparation and by the server."""

from pathlib import Path
from typing import Any

import pytest

from phi_assets.conversations.formats.shapes import parse_conversation
from phi_assets.conversations.rows import Rejected
from serving_code.chat_text import control_tokens, role_of, text_of, without_failed_turns
from serving_code.errors import Refusal
from serving_code.limits import Limits
from serving_code.model_folder import load_model_folder
from serving_code.openai_request import parse_chat
from serving_code.service import Identity
from tests.support.tiny_models import make_tiny_phi3

PARTS = [{"type": "text", "text": "Where is"}, {"type": "input_text", "text": "the mill?"}]


def of_data(turn: dict[str, Any]) -> tuple[str, str]:
    message = parse_conversation({"messages": [turn]}, {}).messages[0]
    return message.role, message.content


def of_request(turn: dict[str, Any]) -> tuple[str, str]:
    (read,) = parse_chat({"messages": [turn]}, Limits(), Identity()).turns
    return read["role"], read["content"]


@pytest.mark.parametrize("role", ["user", "User", " HUMAN ", "system", "Developer", "assistant", "gpt", "Model"])
@pytest.mark.parametrize("content", ["Where is\nthe mill?", PARTS, ["Where is\nthe mill?"], PARTS[0]["text"]])
def test_data_and_requests_are_read_alike(role: str, content: Any):
    turn = {"role": role, "content": content}
    assert of_data(turn) == of_request(turn) == (role_of(role), text_of(content))


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "wizard", "content": "a"},
        {"role": "tool", "content": "a"},
        {"role": "user", "content": 4},
        {"role": "user", "content": ["one answer", "another"]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
    ],
)
def test_what_data_rejects_a_request_is_refused_for(turn: dict[str, Any]):
    with pytest.raises(Rejected):
        of_data(turn)
    with pytest.raises(Refusal):
        of_request(turn)


def test_reasoning_is_no_part_of_the_text():
    assert text_of([{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "North."}]) == "North."


def turns(*texts: str) -> list[Any]:
    return [{"role": "assistant" if place % 2 else "user", "content": text} for place, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("history", "kept"),
    [
        (turns("a", "b", "c"), turns("a", "b", "c")),
        (turns("a", "", "c"), turns("c")),
        (turns("a", "b", "c", " \n", "e"), [*turns("a", "b"), *turns("e")]),
        (turns("a", ""), turns("a", "")),
    ],
)
def test_an_empty_answer_is_left_out_with_its_question(history: list[Any], kept: list[Any]):
    assert without_failed_turns(history) == kept


@pytest.mark.parametrize(("family", "ends"), [("smollm2", "<|im_end|>"), ("phi3", "<|end|>")])
def test_control_tokens_are_those_of_the_model(tmp_path: Path, family: Any, ends: str):
    tokens = control_tokens(load_model_folder(make_tiny_phi3(tmp_path / "model", family=family), "float32").tokenizer)
    assert ends in tokens
    assert len(tokens) == len(set(tokens))
