"""Messages for an endpoint's errors, each with what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# Azure ML turns every container status but 200 into 424 and puts the container's own status in this header.
CONTAINER_STATUS = "ms-azureml-model-error-statuscode"
BUSY = (429, 503)
LONGEST_QUOTE = 300

WHAT_TO_DO = {
    400: "change the question or the history as the endpoint says",
    401: "the connection's key is not the endpoint's: materialise endpoint_connection again; where the endpoint takes "
    "Entra tokens, the caller needs a role that may score, such as AzureML Data Scientist",
    403: "this key may not use the endpoint: materialise endpoint_connection again",
    404: "no deployment has traffic, or the address is another server's: materialise online_deployment, "
    "then endpoint_connection",
    408: "the model took longer than the endpoint allows: ask for fewer tokens (max_tokens)",
    413: "the conversation is too large: send a shorter chat_history",
    422: "change the question or the history as the endpoint says",
    424: "the model behind the endpoint failed: look in the deployment's log",
    429: "the endpoint is busy: retry later, or run the batch with fewer workers",
    500: "the endpoint failed: look in the deployment's log",
    502: "the deployment behind the endpoint does not exist: materialise online_deployment",
    503: "the model is not loaded yet, or its server is down: retry in a minute, else materialise online_deployment",
    504: "the deployment did not answer in time: ask for fewer tokens (max_tokens)",
}


class EndpointUnreachable(RuntimeError):
    """Nothing answered in time at the endpoint's address."""


class EndpointRefused(RuntimeError):
    """The endpoint answered with an error, or with something that is not an answer."""


class EndpointCut(RuntimeError):
    """The endpoint began an answer and did not end it."""


def unreachable(url: str, error: Exception, timeout_s: float) -> str:
    """Return the message for an endpoint that did not answer."""
    kind = type(error).__name__
    if "Timeout" in kind:
        return f"no answer from {url} within {timeout_s:g} s ({kind}); ask for fewer tokens (max_tokens) or retry"
    return f"nothing answers at {url} ({kind}: {error}); start the endpoint (`make run`), then retry"


def effective_status(status: int, headers: Mapping[str, str]) -> int:
    """Return the container's own status where Azure ML wraps it in a 424; else the status."""
    inner = headers.get(CONTAINER_STATUS, "")
    return int(inner) if status == 424 and inner.isdigit() else status


def explain(url: str, status: int, headers: Mapping[str, str], text: str) -> str:
    """Return the message for an error response: the status, the endpoint's message, and what to do.

    Where Azure ML wraps the container's own status in a 424, the container's status decides.
    """
    own = effective_status(status, headers)
    advice = WHAT_TO_DO.get(own, "look in the deployment's log")
    message = _message(text)
    request = headers.get("x-request-id", "")
    return (
        f"{url} answered {status}"
        + (f" (from the model's server: {own})" if own != status else "")
        + (f": {message}" if message else "")
        + f"; {advice}"
        + (f" [request {request}]" if request else "")
    )


def _message(text: str) -> str:
    """Return the endpoint's message: from OpenAI's error shape, else the beginning of the body."""
    try:
        words = message_in(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        words = text
    return " ".join(str(words).split())[:LONGEST_QUOTE].rstrip(".")


def message_in(error: Any) -> str:
    """Return the message of an error in OpenAI's shape."""
    return str(error["message"]) if isinstance(error, dict) and "message" in error else str(error)
