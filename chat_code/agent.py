"""The chat as an agent of Microsoft Agent Framework: its own client over the endpoint, its history in our store.

The only file that imports agent_framework, which the extra `agent` installs.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from agent_framework import (
    Agent,
    AgentResponse,
    AgentSession,
    ChatContext,
    ChatMiddleware,
    ChatResponse,
    HistoryProvider,
    Message,
    SessionContext,
)
from agent_framework.exceptions import AgentFrameworkException
from agent_framework.openai import OpenAIChatCompletionClient, OpenAIChatCompletionOptions
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from chat_code import conversations
from chat_code.content_filter import ContentFilter, FilterUnavailable
from chat_code.conversations import Served, Usage, branch, now, turns
from chat_code.endpoint import LOOPBACK, Endpoint, chat_url
from chat_code.endpoint_errors import EndpointRefused
from chat_code.errors import NotFound, Refused
from chat_code.history import History
from chat_code.models import TUNED
from chat_code.turn import TurnSettings


class Options(OpenAIChatCompletionOptions[None], total=False):
    """What each request of the agent has; `extra_body` and `extra_headers` are passed on to OpenAI's client."""

    extra_body: dict[str, Any]
    extra_headers: dict[str, str]


FINGERPRINT, PARENT, SERVED = "system_fingerprint", "parent", "served"


@dataclass(frozen=True)
class AgentAnswer:
    """An answer and its origin."""

    text: str
    served: Served
    usage: Usage


class StoredHistory(HistoryProvider):
    """One person's conversations in the chat's history; a session's id is the conversation's."""

    def __init__(self, history: History, user: str, endpoint: Endpoint) -> None:
        super().__init__("chat_history")
        self._history, self._user, self._endpoint = history, user, endpoint

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        """Return the turns of the branch that the conversation shows; none when it is new."""
        assert session_id
        try:
            found, messages = await self._history.read(self._user, session_id)
        except NotFound:
            return []
        if state is not None:
            state[PARENT] = found.head
        return _messages(turns(branch(messages, found.head)))

    async def after_run(
        self, *, agent: Any, session: AgentSession, context: SessionContext, state: dict[str, Any]
    ) -> None:
        """Store the question and the answer, with the answer's origin, which only the response names."""
        state[SERVED] = self._endpoint.known(_served(cast(AgentResponse[Any], context.response)))
        await super().after_run(agent=agent, session=session, context=context, state=state)

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Store a question and its answer behind the last turn. Raises Refused."""
        assert session_id
        state = state or {}
        asked, said = ("\n".join(each.text for each in messages if each.role == role) for role in ("user", "assistant"))
        question = conversations.Message(uuid.uuid4().hex, state.get(PARENT), "user", asked, "done", now())
        answer = conversations.Message(
            uuid.uuid4().hex, question.id, "assistant", said, "done", now(), model=TUNED, served=state.get(SERVED)
        )
        await self._history.begin(self._user, session_id, question, answer)
        await self._history.finish(self._user, session_id, answer)


class Filtered(ChatMiddleware):
    """Asks the chat's content filter about the question, and about the answer before the history has it.

    Raises Refused.
    """

    def __init__(self, content_filter: ContentFilter) -> None:
        self._filter = content_filter

    async def process(self, context: ChatContext, call_next: Any) -> None:
        await self._require("the question is not passed on", context.messages[-1].text)
        await call_next()
        assert isinstance(context.result, ChatResponse)
        await self._require("the answer is not shown", context.result.text)

    async def _require(self, what: str, text: str) -> None:
        try:
            refused = await self._filter.refuses(text)
        except FilterUnavailable as e:
            raise Refused("filter_unavailable", str(e)) from e
        if refused:
            raise Refused("refused_by_filter", f"{what}: {refused}")


class ChatAgent:
    """An agent over an endpoint. With a history of a person, sessions are that person's conversations."""

    def __init__(self, endpoint: Endpoint, settings: TurnSettings, *, history: History | None = None, user: str = ""):
        self._endpoint, self._sampling = endpoint, asdict(settings.sampling)
        self._client = AsyncOpenAI(
            base_url=chat_url(endpoint.url).removesuffix("/chat/completions"),
            api_key=self._key,
            default_headers=None if endpoint.keeps else {"x-phi-keep": "no"},
            # A proxy of the environment could not reach loopback.
            http_client=DefaultAsyncHttpxClient(trust_env=urlsplit(endpoint.url).hostname not in LOOPBACK),
            timeout=endpoint.first_piece_s,
        )
        options: Options = {
            "temperature": settings.sampling.temperature,
            "max_tokens": settings.sampling.max_tokens,
            # As the chat page asks: the endpoint leaves out the oldest turns when they do not fit, and answers by the
            # model that it has: OpenAI's client cannot leave the name out.
            "extra_body": {"truncation": "auto", "model": None, **endpoint.cache_salt()},
        }
        self._agent = Agent(
            OpenAIChatCompletionClient(model=TUNED, async_client=self._client),
            settings.system_prompt or None,
            name="phi-chat",
            default_options=options,
            context_providers=[StoredHistory(history, user, endpoint)] if history else [],
            middleware=[Filtered(settings.content_filter)],
        )

    async def ask(
        self, question: str, *, before: Sequence[Mapping[str, Any]] = (), conversation: str | None = None
    ) -> AgentAnswer:
        """Return the answer to a question, with the turns before it, or with those of a stored conversation.

        Raises:
            EndpointRefused: the endpoint gave no answer; the message is its own.
            Refused: the content filter does not let the question or the answer pass, or the history refuses.
        """
        session = AgentSession(session_id=conversation) if conversation else None
        messages = [*_messages(before), Message("user", [question])]
        asked = self._endpoint.tracing.asked([*before, {"role": "user", "content": question}], self._sampling)
        headers: Options = {"extra_headers": asked.headers()}
        try:
            response = await self._agent.run(messages, session=session, options=headers)
            counts = response.usage_details or {}
            usage = Usage(counts.get("input_token_count") or 0, counts.get("output_token_count") or 0)
            served = self._endpoint.known(_served(response))
            asked.piece(response.text)
            asked.finished(served, usage, str(response.finish_reason or "stop"))
        except AgentFrameworkException as e:
            asked.failed(e)
            raise EndpointRefused(str(e.__cause__ or e)) from e
        except (Exception, asyncio.CancelledError) as e:
            asked.failed(e)
            raise
        finally:
            asked.end()
        return AgentAnswer(response.text, served, usage)

    async def _key(self) -> str:
        return await asyncio.to_thread(self._endpoint.key) or "none"

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _messages(found: Sequence[Mapping[str, Any]]) -> list[Message]:
    return [Message(turn["role"], [turn["content"]]) for turn in found]


def _served(response: AgentResponse[Any]) -> Served:
    """Return the origin: the framework hides the endpoint's headers, so it is read from the fingerprint."""
    deployment, _, model = str(response.additional_properties.get(FINGERPRINT) or "").partition("/")
    name, _, version = model.rpartition(":")
    return Served(response.response_id or "", deployment, name, version)
