"""Conversations as inputs of the chat flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def flow_inputs(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return `question` and `chat_history` for a conversation that ends with a user turn.

    A user turn and the answer after it become one turn of Prompt flow's chat history; what has no partner (a system
    message) stays a message, which the flow takes as well.

    Raises:
        ValueError: the last message is not the user's.
    """
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("the last message is not the user's, so there is no question to ask")
    history: list[dict[str, Any]] = []
    earlier = list(messages[:-1])
    while earlier:
        first = earlier.pop(0)
        if first["role"] == "user" and earlier and earlier[0]["role"] == "assistant":
            answer = earlier.pop(0)
            history.append({"inputs": {"question": first["content"]}, "outputs": {"answer": answer["content"]}})
        else:
            history.append({"role": first["role"], "content": first["content"]})
    return {"question": messages[-1]["content"], "chat_history": history}
