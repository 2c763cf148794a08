"""Chat logic: one question, with the history before it, answered by a chat-completions endpoint.

Does not depend on Prompt flow: the flow's tool calls `answer`, and any other program can too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import httpx
from endpoint import chat_url, post
from endpoint_errors import EndpointRefused


class Message(TypedDict):
    """One turn of a conversation. The endpoint reads roles in any case, and contents that are texts or text parts."""

    role: str
    content: Any


@dataclass(frozen=True)
class ServedBy:
    """The origin of an answer, so that each answer can be traced to its model.

    Attributes:
        request_id: the endpoint's id of the request; its log has the same id.
        deployment: name of the deployment behind the endpoint ("" where the endpoint does not say).
        model: name of the model.
        model_version: version of the model in its registry ("" where the endpoint does not say).
        seconds: time from the first request to the complete answer, retries included.
    """

    request_id: str
    deployment: str
    model: str
    model_version: str
    seconds: float


@dataclass(frozen=True)
class Answer:
    """The text of an answer and its origin."""

    text: str
    served_by: ServedBy


def answer(
    question: str,
    history: Sequence[Mapping[str, Any]] = (),
    *,
    url: str,
    key: str,
    max_tokens: int = 128,
    temperature: float = 0.0,
    timeout_s: float = 180.0,
) -> Answer:
    """Ask the endpoint at `url` and return its answer.

    Args:
        question: what the user asks now.
        history: earlier turns, oldest first; either messages or Prompt flow's chat history (see `messages_of`).
        url: address of the endpoint; `/v1/chat/completions` is added, a trailing `/score` or `/v1` is removed.
        key: bearer key; "" sends none.
        max_tokens: maximum number of tokens to generate.
        temperature: 0 is greedy decoding.
        timeout_s: timeout of one request, in seconds.

    Raises:
        ValueError: the question or the history is not usable; the message names the entry.
        EndpointUnreachable: nothing answered in time at the address.
        EndpointRefused: the endpoint answered with an error, or with something that is not a chat completion.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"the question is empty or not text: {question!r}; send a non-empty string as 'question'")
    body = {
        "messages": [*messages_of(history), {"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "temperature": temperature,
    }
    response, seconds = post(chat_url(url), body, key=key, timeout_s=timeout_s)
    return _read(response, seconds)


def messages_of(history: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Return a chat history as messages, oldest first, without the turns that failed.

    An entry is a message (`{"role": ..., "content": ...}`) or a turn in Prompt flow's format
    (`{"inputs": {"question": ...}, "outputs": {"answer": ...}}`). A turn failed when it has a question and no answer,
    or an empty one: it is left out, and so is an empty answer with the questions before it.

    Raises:
        ValueError: an entry is neither; the message gives its position.
    """
    messages: list[Message] = []
    for position, entry in enumerate(history):
        if not isinstance(entry, Mapping):
            raise ValueError(f"chat_history[{position}] is {type(entry).__name__}, not an object; {_SHAPES}")
        if "role" in entry:
            pairs = [(entry["role"], entry.get("content"))]
        else:
            pairs = [("user", _part(entry, "inputs", "question")), ("assistant", _part(entry, "outputs", "answer"))]
        for role, content in pairs:
            if role == "assistant" and (content is None or content == ""):
                while messages and messages[-1]["role"] == "user":
                    messages.pop()
            elif isinstance(role, str) and isinstance(content, (str, list)):
                messages.append({"role": role, "content": content})
            else:
                raise ValueError(f"chat_history[{position}] is not a turn of a chat; {_SHAPES}")
    return messages


_SHAPES = (
    'each entry is {"inputs": {"question": "..."}, "outputs": {"answer": "..."}}'
    ' or {"role": "system|user|assistant", "content": "..."}'
)


def _part(entry: Mapping[str, Any], side: str, name: str) -> Any:
    values = entry.get(side)
    return values.get(name) if isinstance(values, Mapping) else None


def _read(response: httpx.Response, seconds: float) -> Answer:
    try:
        body = response.json()
        text = body["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError(f"content is {type(text).__name__}")
    except (ValueError, KeyError, IndexError, TypeError) as e:
        raise EndpointRefused(
            f"{response.url} answered 200 with something that is not a chat completion ({e!r}):"
            f" {response.text[:200]!r}; check that the connection's address is the model's endpoint"
        ) from e
    headers = response.headers
    return Answer(
        text=text,
        served_by=ServedBy(
            request_id=headers.get("x-request-id") or str(body.get("id", "")),
            deployment=headers.get("azureml-model-deployment", ""),
            model=headers.get("x-model-name") or str(body.get("model", "")),
            model_version=headers.get("x-model-version", ""),
            seconds=round(seconds, 3),
        ),
    )
