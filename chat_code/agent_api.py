"""POST /agent: the chat's agent, with the inputs and outputs of the chat flow's POST /score."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chat_code.endpoint_errors import EndpointRefused
from chat_code.errors import Refused
from chat_code.models import TUNED
from chat_code.requests import chat_of, identifier, json_body, text_in, who_of
from chat_code.turn import messages_of

MAX_BODY = 1_000_000
NOT_INSTALLED = (
    "Microsoft Agent Framework is not installed here: pip install agent-framework-core agent-framework-openai"
)
INPUTS = ("question", "chat_history", "max_tokens", "temperature", "conversation")


def installed() -> bool:
    """Return whether the extra `agent` is installed, without importing it."""
    return find_spec("agent_framework_openai") is not None


async def ask_agent(request: Request) -> JSONResponse:
    """One answer: `{"question", "chat_history"}`, or with `conversation` the turns that the history keeps."""
    person, chat = who_of(request).by_key(request), chat_of(request)
    if not installed():
        raise Refused("not_found", NOT_INSTALLED)
    from chat_code.agent import ChatAgent

    body = await json_body(request, MAX_BODY)
    for name in body:
        if name not in INPUTS:
            raise Refused("invalid", f"{name!r} is no input; valid are {', '.join(INPUTS)}")
    question = text_in(body, "question", chat.limits.question_bytes)
    if not question.strip():
        raise Refused("invalid", "the question is empty")
    try:
        before = messages_of(body.get("chat_history") or ())
    except ValueError as e:
        raise Refused("invalid", str(e)) from e
    conversation = body.get("conversation")
    if conversation is not None and before:
        raise Refused("invalid", "send chat_history or conversation: a kept conversation has its own history")
    if conversation is not None:
        identifier(conversation, "conversation")
    sampling = replace(
        chat.settings.sampling,
        max_tokens=_number(body, "max_tokens", 1, chat.settings.sampling.max_tokens),
        temperature=_number(body, "temperature", 0.0, chat.settings.sampling.temperature),
    )
    settings = replace(chat.settings, sampling=sampling)
    with chat.admission.one_answer(person.user):
        await chat.admission.require_budget(chat.history, person.user)
        history = chat.history if conversation is not None else None
        agent = ChatAgent(chat.endpoint(TUNED, person.user), settings, history=history, user=person.user)
        try:
            async with chat.admission.queue:
                answer = await agent.ask(question, before=before, conversation=conversation)
        except EndpointRefused as e:
            raise Refused("endpoint_unavailable", str(e)) from e
        finally:
            await agent.close()
        tokens = answer.usage.prompt_tokens + answer.usage.completion_tokens
        await chat.admission.count_tokens(chat.history, person.user, tokens)
    served = answer.served
    return JSONResponse(
        {
            "answer": answer.text,
            "served_by": {
                "request_id": served.answer_id.removeprefix("chatcmpl-"),
                "deployment": served.deployment,
                "model": served.model,
                "model_version": served.model_version,
            },
        }
    )


def _number(body: dict[str, Any], name: str, least: float, default: Any) -> Any:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise Refused("invalid", f"{name} is {value!r}; it must be a number from {least} on")
    return type(default)(value)


def routes() -> list[Route]:
    """Return the route."""
    return [Route("/agent", ask_agent, methods=["POST"])]
