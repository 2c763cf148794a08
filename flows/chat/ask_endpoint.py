"""The flow's one tool: it hands the flow's inputs and the connection to `chat.answer`."""

from dataclasses import asdict
from typing import Any

from chat import answer
from entra import token
from promptflow.connections import CustomConnection
from promptflow.core import tool


@tool
def ask_endpoint(
    connection: CustomConnection, question: str, chat_history: list, max_tokens: int, temperature: float
) -> dict[str, Any]:
    """Return `{"answer": text, "served_by": {...}}` from the endpoint that the connection names."""
    given = answer(
        question,
        chat_history,
        url=connection.configs["address"],
        key=_key(connection),
        max_tokens=max_tokens,
        temperature=temperature,
    )
    return {"answer": given.text, "served_by": asdict(given.served_by)}


def _key(connection: CustomConnection) -> str:
    """Return what goes after `Bearer`: the connection's key, or a token of whoever runs the flow."""
    return token() if connection.configs.get("auth") == "aad_token" else connection.secrets["key"]
