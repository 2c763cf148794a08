"""The flow's one tool: one turn of the chat, with the flow's inputs and the connection."""

import importlib
from typing import Any

from promptflow.connections import CustomConnection
from promptflow.core import tool

from chat_code.endpoint import Endpoint, Sampling
from chat_code.endpoint_errors import EndpointRefused
from chat_code.turn import TurnSettings, answer

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
    endpoint = Endpoint(connection.configs["address"], lambda: _key(connection), keeps=True)
    result = answer(question, chat_history, endpoint, TurnSettings(sampling=Sampling(max_tokens, temperature)))
    served = result.served
    served_by = {
        "request_id": served.answer_id.removeprefix("chatcmpl-"),
        "deployment": served.deployment,
        "model": served.model,
        "model_version": served.model_version,
        "seconds": result.seconds,
    }
    return {"answer": result.text, "served_by": served_by}


def _key(connection: CustomConnection) -> str:
    """Return the bearer credential: the connection's key, or a token of the identity that runs the flow."""
    if connection.configs.get("auth") != "aad_token":
        return connection.secrets["key"]
    try:
        sign_in = importlib.import_module("flow_token")
    except ModuleNotFoundError:
        raise EndpointRefused(NOT_FOR_TOKENS) from None
    return sign_in.token()
