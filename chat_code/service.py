"""The chat behind its routes: asks, follows, stops, and keeps what was said."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from chat_code.conversations import Conversation, Message, Served, Usage, as_json, branch, ended, now, turns
from chat_code.endpoint import Delta, Endpoint, Finished, Started, chat_url, new_client
from chat_code.errors import HistoryUnavailable, NotFound, Refused
from chat_code.history import History
from chat_code.limits import Admission, Limits
from chat_code.lineage import Lineage
from chat_code.live_answers import Key, LiveAnswer, LiveAnswers
from chat_code.logs import event as log
from chat_code.models import TUNED, Facts
from chat_code.turn import Cut, TurnSettings, events

STOPPED = "stopped"
ENDED_WITH_SERVER = "the chat's server ended before the answer did; ask again"
ASKED_WHETHER_READY_S = 2.0
Event = tuple[int, str, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """A question that a page sends: who asks, in which conversation, and the ids that the page chose."""

    user: str
    conversation: str
    id: str
    parent: str | None
    content: str
    answer_id: str
    model: str = TUNED

    @property
    def key(self) -> Key:
        """Return the key of the answer."""
        return self.user, self.conversation, self.answer_id


@dataclass
class Chat:
    """A chat over one history, and one endpoint per model. Used from one event loop only."""

    history: History
    endpoints: Mapping[str, Endpoint]
    settings: TurnSettings = field(default_factory=TurnSettings)
    limits: Limits = field(default_factory=Limits)
    facts: Facts = field(default_factory=Facts)
    lineage: Lineage | None = None
    live: LiveAnswers = field(default_factory=LiveAnswers)
    admission: Admission = field(init=False)
    _clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.admission = Admission(self.limits)

    def client(self, model: str) -> httpx.AsyncClient:
        """Return the HTTP client of a model's endpoint."""
        if model not in self._clients:
            self._clients[model] = new_client(self.endpoints[model].url)
        return self._clients[model]

    def endpoint(self, model: str, user: str) -> Endpoint:
        """Return a model's endpoint, to be asked for a person. Raises Refused."""
        if model not in self.endpoints:
            raise Refused("invalid", f"model {model!r} cannot be asked; valid are {', '.join(self.endpoints)}")
        return replace(self.endpoints[model], person=user)

    async def available(self, model: str) -> dict[str, Any]:
        """Return whether a model can be asked now. The fine-tuned one always can: it is what the chat is for."""
        if model == TUNED:
            return {"available": True, "why_not": ""}
        address = chat_url(self.endpoints[model].url).removesuffix("/v1/chat/completions")
        try:
            answer = await self.client(model).get(f"{address}/readyz", timeout=ASKED_WHETHER_READY_S)
            if answer.status_code == 200:
                return {"available": True, "why_not": ""}
        except httpx.HTTPError:
            pass
        return {"available": False, "why_not": "its server does not run; `phi chat --base` starts it"}

    async def ask(self, asked: Question) -> AsyncGenerator[Event | None, None]:
        """Return the events of the answer, which is generated also when nobody follows; None keeps a line alive.

        A repeated question with the same ids gives the same answer's events. Raises Refused.
        """
        endpoint = self.endpoint(asked.model, asked.user)
        found = self.live.find(asked.key)
        if found:
            return found.follow()
        with ExitStack() as held:
            held.enter_context(self.admission.one_answer(asked.user))
            await self.admission.require_budget(self.history, asked.user)
            conversation, question, answer = await self._begin(asked)
            if answer.state != "running":
                return _told(_replay(conversation, question, answer))
            place = held.pop_all()

        async def work(live: LiveAnswer) -> None:
            with place:
                last, cut, code = await self._generate(live, asked, endpoint, conversation, question, answer)
            # The place is free before the end is told: the page may ask the next question at once.
            ending = asyncio.ensure_future(self._end(live, asked, conversation, last, cut, code))
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                await ending  # a second request to stop must not lose what was written

        return self.live.start(asked.key, work).follow()

    async def _begin(self, asked: Question) -> tuple[Conversation, Message, Message]:
        question = Message(asked.id, asked.parent, "user", asked.content, "done", now())
        answer = Message(asked.answer_id, asked.id, "assistant", "", "running", now(), model=asked.model)
        conversation, question, stored = await self.history.begin(asked.user, asked.conversation, question, answer)
        if stored.state == "running" and stored.at != answer.at:
            # An answer of a server that has ended: nobody will finish it.
            stored = ended(stored, "cut" if stored.content else "failed", ENDED_WITH_SERVER)
            conversation = await self.history.finish(asked.user, asked.conversation, stored)
        return conversation, question, stored

    def follow(self, key: Key, after: int) -> AsyncGenerator[Event | None, None]:
        """Return the events after this number. Raises NotFound when the answer ended long ago."""
        found = self.live.find(key)
        if found is None:
            raise NotFound("running answer")
        return found.follow(after)

    async def stop(self, key: Key) -> None:
        """Stop an answer; what was written is kept. Nothing happens when it has ended."""
        await self.live.stop([key])

    async def read(self, user: str, conversation: str) -> tuple[Conversation, list[Message]]:
        """Return a conversation. An answer that no server generates any more is shown as cut. Raises NotFound."""
        found, messages = await self.history.read(user, conversation)
        return found, [
            ended(message, "cut" if message.content else "failed", ENDED_WITH_SERVER)
            if message.state == "running" and not self.live.running((user, conversation, message.id))
            else message
            for message in messages
        ]

    async def delete(self, user: str, conversation: str | None) -> None:
        """Delete a conversation, or all of a person; running answers are stopped first. Raises NotFound."""
        keys = self.live.drop(user, conversation)
        await self.live.stop(keys)
        if conversation is None:
            await self.history.delete_all(user)
        else:
            await self.history.delete(user, conversation)
        self.live.remove(keys)

    async def close(self) -> None:
        """Stop all answers, and release files and connections."""
        await self.live.close()
        for client in self._clients.values():
            await client.aclose()
        await self.history.close()
        for endpoint in self.endpoints.values():
            await asyncio.to_thread(endpoint.tracing.close)

    async def _generate(
        self,
        live: LiveAnswer,
        asked: Question,
        endpoint: Endpoint,
        conversation: Conversation,
        question: Message,
        answer: Message,
    ) -> tuple[Message, Cut | None, str]:
        """Generate an answer and tell it to who follows; return its last state, and why it ended before its end."""
        told = {"answer_id": answer.id, "conversation": as_json(conversation), "user": as_json(question)}
        await live.add("started", told)
        text: list[str] = []
        cut = Cut("failed", "the answer ended with an error; ask again", retry=True)
        served: Served | None = None
        finished: Finished | None = None
        code: str = cut.code
        try:
            history = await self._turns_before(asked)
            async with (
                self.admission.queue,
                aclosing(events(asked.content, history, endpoint, self.settings, self.client(asked.model))) as turn,
            ):
                async for event in turn:
                    if isinstance(event, Delta):
                        text.append(event.text)
                        await live.add("delta", {"text": event.text})
                    elif isinstance(event, Started):
                        served = event.served
                    elif isinstance(event, Finished):
                        finished, served = event, event.served
                    else:
                        cut, code = event, event.code
        except asyncio.CancelledError:
            # Asked to stop, by a person or because the server ends: the part is kept.
            cut, code = Cut("cut", STOPPED, retry=True), STOPPED
        except HistoryUnavailable as e:
            cut, code = Cut("failed", e.message, retry=True), "history_unavailable"
        except Exception as e:
            log("answer_failed", level=logging.ERROR, exc_info=True, error=type(e).__name__)
        content = "".join(text)
        if finished is None:
            state = "refused" if code == "refused_by_filter" else "cut" if content or code == STOPPED else "failed"
            return replace(answer, content=content, state=state, why=cut.why, served=served), cut, code
        last = replace(
            answer, content=content, state="done", served=served, usage=finished.usage, seconds=finished.seconds
        )
        return last, None, ""

    async def _end(
        self, live: LiveAnswer, asked: Question, conversation: Conversation, last: Message, cut: Cut | None, code: str
    ) -> None:
        try:
            conversation = await self.history.finish(asked.user, asked.conversation, last)
            if last.usage is not None:
                await self.admission.count_tokens(self.history, asked.user, _tokens(last.usage))
        except Refused as e:
            unkept = "the answer could not be kept" if isinstance(e, HistoryUnavailable) else "it was deleted"
            cut = Cut("failed", f"{unkept}: {e.message}", retry=not isinstance(e, NotFound))
            code = e.code
            log("answer_not_kept", level=logging.WARNING, code=e.code)
        body = {"message": as_json(last), "conversation": as_json(conversation)}
        if cut is None:
            await live.add("done", body, last=True)
        else:
            await live.add("cut", body | {"why": cut.why, "code": code, "retry": cut.retry}, last=True)

    async def _turns_before(self, asked: Question) -> list[dict[str, str]]:
        if asked.parent is None:
            return []
        _, messages = await self.history.read(asked.user, asked.conversation)
        return turns(branch(messages, asked.parent))


def _replay(conversation: Conversation, question: Message, answer: Message) -> list[Event]:
    """Return the events of an answer that ended before."""
    header = as_json(conversation)
    found: list[Event] = [(1, "started", {"answer_id": answer.id, "conversation": header, "user": as_json(question)})]
    if answer.content:
        found.append((2, "delta", {"text": answer.content}))
    body = {"message": as_json(answer), "conversation": header}
    if answer.state == "done":
        found.append((len(found) + 1, "done", body))
    else:
        code = "refused_by_filter" if answer.state == "refused" else answer.state
        found.append((len(found) + 1, "cut", body | {"why": answer.why, "code": code, "retry": True}))
    return found


async def _told(told: list[Event]) -> AsyncGenerator[Event | None, None]:
    for event in told:
        yield event


def _tokens(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens
