"""The flow's one tool: calls `chat.answer` with the flow's inputs and the connection."""

import importlib
from dataclasses import asdict
from typing import Any

from chat import answer
from endpoint_errors import EndpointRefused
from promptflow.connections import CustomConnection
from promptflow.core import tool

# Only the Azure backend can get a token; it adds the file that does to the flows that it packages.
NOT_FOR_TOKENS = (
    "the endpoint takes Entra tokens, and flow_token.py, which gets them, is missing: use the folder that chat_flow"
    " packaged with PHI_BACKEND=azure"
)


@tool
def ask_endpoint(
    connection: CustomConnection, question: str, chat_history: list, max_tokens: int, temperature: float
) -> dict[str, Any]:
    """Return `{"answer": text, "served_by": {...}}` from the endpoint that the connection names."""
    result = answer(
        question,
        chat_history,
        url=connection.configs["address"],
        key=_key(connection),
        max_tokens=max_tokens,
        temperature=temperature,
    )
    return {"answer": result.text, "served_by": asdict(result.served_by)}


def _key(connection: CustomConnection) -> str:
    """Return the bearer credential: the connection's key, or a token of the identity that runs the flow."""
    if connection.configs.get("auth") != "aad_token":
        return connection.secrets["key"]
    try:
        sign_in = importlib.import_module("flow_token")
    except ModuleNotFoundError:
        raise EndpointRefused(NOT_FOR_TOKENS) from None
    return sign_in.token()
