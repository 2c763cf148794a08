"""The history in Cosmos DB, for a chat of many people: a person's conversations are one partition.

Conversations and their messages are items of one container. A conversation's header and messages are written in one
batch, so that both are there or neither. What a person lets be used for training is copied to a second container, which
is all that the pipeline may read.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chat_code.conversations import Conversation, Feedback, Message, as_json, branch, message_from, title_of, turns
from chat_code.cosmos_container import (
    MOST_OPERATIONS,
    Account,
    Container,
    Item,
    OperationFailed,
    add,
    create,
    delete,
    patch,
    read,
    replace,
    require_fits,
    upsert,
)
from chat_code.cosmos_items import (
    ALL_COPIES,
    ALL_MESSAGES,
    COPIES,
    FOUND,
    HEADERS,
    HEADERS_OF,
    MESSAGE_LIVES,
    MESSAGES,
    conversation_of,
    decoded,
    encoded,
    etag_of,
    header_id,
    may_be_used,
    message_id,
    message_of,
    moment,
    newest_turns,
    parts,
    ttl_of,
)
from chat_code.errors import Changed, Conflict, HistoryUnavailable, NotFound
from chat_code.history import PAGE, History, Rated

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

ATTEMPTS = 8
DAY = 86_400
SPENT_SECONDS = 3 * DAY
IDS_IN_A_QUERY = 500
FINISHED = ("content", "state", "at", "why", "model", "served", "usage", "seconds")


class CosmosHistory(History):
    """The history in two containers of one database. Used from one event loop only.

    A conversation without a new message for `keep_days` days expires; 0 keeps all. Its header expires at that time, and
    its messages within a day after: Cosmos DB expires each item by itself, and so a conversation's messages are given a
    new time to live when it gets the first new message of a day. A changed setting reaches a conversation with its next
    message.
    """

    def __init__(
        self,
        url: str,
        credential: AsyncTokenCredential,
        *,
        database: str = "chat",
        conversations: str = "conversations",
        feedback: str = "feedback",
        keep_days: float = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = Account(url, credential, database)
        self._items = Container(self._account, conversations)
        self._copies = Container(self._account, feedback)
        self._keep = keep_days * DAY
        self._clock = clock

    async def begin(
        self, user: str, conversation: str, question: Message, answer: Message
    ) -> tuple[Conversation, Message, Message]:
        asked = stored = None
        for attempt in range(ATTEMPTS):
            header = await self._items.find(user, header_id(conversation))
            if attempt:  # the first time neither exists, nearly always
                asked, stored = await asyncio.gather(
                    *(self._message(user, conversation, id) for id in (question.id, answer.id))
                )
            if header is None and question.parent is not None:
                raise NotFound("message")
            if asked and (asked.content, asked.parent, asked.role) != (
                question.content,
                question.parent,
                question.role,
            ):
                raise Conflict
            if stored and (stored.role != "assistant" or stored.parent != question.id):
                raise Conflict
            if header and asked and stored and (stored.state != "failed" or stored.content):
                return conversation_of(header), asked, stored
            if header is None:
                await self._delete_expired(user, conversation)
            elif self._is_renewal_due(header):
                await self._renew(user, conversation)
                header |= {"renewed": self._clock(), "keep": self._keep}
            new = header or self._new_header(user, conversation, question)
            operations = [read(message_id(conversation, question.parent))] if question.parent and not asked else []
            items: list[Item] = []
            for message, old in ((question, asked), (answer, stored)):
                if old is None:
                    new["seq"] += 1
                    items.append(self._new_message(user, conversation, message, new["seq"]))
                    operations.append(create(items[-1]))
            if stored is not None:
                operations.append(self._patched(conversation, answer))
            new |= {"updated": max(new["updated"], answer.at), "head": answer.id}
            new |= self._life_of_header(new)
            operations.append(replace(new, header["_etag"]) if header else create(new))
            require_fits("the question", *items, new)
            try:
                done = await self._items.write(user, *operations)
            except OperationFailed as e:
                if e.status == 404 and operations[e.index][0] == "read":
                    raise NotFound("message") from e
                continue
            return conversation_of(done[-1]), asked or question, answer
        raise _busy()

    async def finish(self, user: str, conversation: str, answer: Message) -> Conversation:
        require_fits("the answer", {"content": answer.content, "why": answer.why})
        updated = moment(self._clock())
        header = {"updated": updated, **self._life_of_header({"updated": updated})}
        try:
            stored, changed = await self._items.write(
                user, self._patched(conversation, answer), patch(header_id(conversation), **header)
            )
        except OperationFailed as e:
            raise NotFound from e
        if may_be_used(stored):
            await self._publish(user, conversation, answer.id)
        return conversation_of(changed)

    async def conversations(self, user: str, cursor: str = "", search: str = "") -> tuple[list[Conversation], str]:
        if search:
            return await self._found(user, cursor, search)
        headers: list[Item] = []
        continuation = decoded(cursor)
        while len(headers) < PAGE:
            # Cosmos DB may give fewer than asked for, with more to come.
            rows, continuation = await self._items.page(user, HEADERS, PAGE - len(headers), continuation)
            headers += rows
            if not continuation:
                break
        return [conversation_of(header) for header in headers], encoded(continuation)

    async def read(self, user: str, conversation: str) -> tuple[Conversation, list[Message]]:
        header, rows = await asyncio.gather(
            self._items.find(user, header_id(conversation)),
            self._items.query(user, MESSAGES, conversation=conversation),
        )
        if header is None:
            raise NotFound
        return conversation_of(header), [message_of(row) for row in sorted(rows, key=lambda row: row["seq"])]

    async def change(
        self, user: str, conversation: str, *, title: str | None = None, head: str | None = None, etag: str = ""
    ) -> Conversation:
        write = uuid.uuid4().hex
        for _ in range(ATTEMPTS):
            header = await self._items.find(user, header_id(conversation))
            if header is None:
                raise NotFound
            if header.get("write") == write:  # the answer to this very change was lost, and the SDK repeated it
                return conversation_of(header)
            if etag and etag != etag_of(header):
                raise Changed
            new = header | {"write": write, "title": header["title"] if title is None else title}
            new |= {"head": head or header["head"], **self._life_of_header(header)}
            require_fits("the title", new)
            check = [read(message_id(conversation, head))] if head is not None else []
            try:
                return conversation_of((await self._items.write(user, *check, replace(new, header["_etag"])))[-1])
            except OperationFailed as e:
                if check and e.index == 0:
                    raise NotFound("message") from e
        raise _busy()

    async def rate(self, user: str, conversation: str, message: str, feedback: Feedback | None) -> Message:
        id = message_id(conversation, message)
        item = await self._items.find(user, id)
        if item is None or item["role"] != "assistant":
            raise NotFound("answer")
        consent = feedback is not None and feedback.consent
        if not consent and may_be_used(item):
            await self._withdraw(user, id)
        new: dict[str, Any] = {"feedback": as_json(feedback) if feedback else None}
        require_fits("the answer with what is said about it", item | new)
        if "ttl" in item:  # a rating makes no conversation live longer
            new["ttl"] = self._left(item)
        try:
            _, stored = await self._items.write(user, read(header_id(conversation)), patch(id, **new))
        except OperationFailed as e:
            raise NotFound("answer") from e
        if consent:
            await self._publish(user, conversation, message)
        else:
            await self._withdraw(user, id)  # what another request has published meanwhile
        return message_of(stored)

    async def delete(self, user: str, conversation: str) -> None:
        for attempt in range(ATTEMPTS):
            header = await self._items.find(user, header_id(conversation))
            try:
                await self._copies.delete_each(user, await self._copies.query(user, COPIES, conversation=conversation))
                if header is None:
                    if attempt == 0:
                        raise NotFound
                    return
                rows = await self._items.query(user, MESSAGE_LIVES, conversation=conversation)
                await self._items.delete_each(user, [row["id"] for row in rows])
                # A message since then has changed the header: then it is not deleted, and all begins anew.
                await self._items.write(user, delete(header["id"], header["_etag"]))
            except OperationFailed:
                continue
        raise _busy()

    async def delete_all(self, user: str) -> int:
        deleted = 0
        for _ in range(ATTEMPTS):
            headers = await self._items.query(user, HEADERS)
            try:
                await self._copies.delete_each(user, await self._copies.query(user, ALL_COPIES))
                await self._items.delete_each(user, await self._items.query(user, ALL_MESSAGES))
                for part in parts(headers, MOST_OPERATIONS):
                    await self._items.write(user, *(delete(header["id"], header["_etag"]) for header in part))
                    deleted += len(part)
            except OperationFailed:
                continue
            if not headers:  # copies that were written meanwhile are gone, too
                return deleted
        raise _busy()

    async def spend(self, user: str, day: str, *, requests: int, tokens: int) -> tuple[int, int]:
        new = {"id": f"s:{day}", "user_id": user, "kind": "spent", "requests": requests, "tokens": tokens}
        for _ in range(ATTEMPTS):
            for operation in (add(new["id"], requests=requests, tokens=tokens), create({**new, "ttl": SPENT_SECONDS})):
                try:
                    [spent] = await self._items.write(user, operation)
                except OperationFailed:
                    continue
                return spent["requests"], spent["tokens"]
        raise _busy()

    async def rated(self) -> AsyncIterator[Rated]:
        async for copy in self._copies.everything():
            yield Rated(copy["user_id"], copy["conversation"], message_from(copy["message"]), copy["turns"])

    async def sweep(self, days: float) -> int:
        """Return 0: Cosmos DB deletes by itself what has lived `keep_days`."""
        return 0

    async def close(self) -> None:
        await self._account.close()

    async def _message(self, user: str, conversation: str, message: str) -> Message | None:
        item = await self._items.find(user, message_id(conversation, message))
        return None if item is None else message_of(item)

    async def _found(self, user: str, cursor: str, search: str) -> tuple[list[Conversation], str]:
        ids = sorted(set(await self._items.query(user, FOUND, search=search)))
        rows: list[Item] = []
        for part in parts(ids, IDS_IN_A_QUERY):
            rows += await self._items.query(user, HEADERS_OF, conversations=part)
        found = sorted((conversation_of(row) for row in rows), key=lambda each: each.id)
        found.sort(key=lambda each: each.updated, reverse=True)
        if cursor:
            updated, _, id = decoded(cursor).partition("/")
            found = [each for each in found if each.updated < updated or (each.updated == updated and each.id > id)]
        page = found[:PAGE]
        return page, encoded(f"{page[-1].updated}/{page[-1].id}") if len(found) > PAGE else ""

    async def _publish(self, user: str, conversation: str, message: str) -> None:
        """Copy a rated answer and its turns to where the pipeline reads."""
        id = message_id(conversation, message)
        item, rows = await asyncio.gather(
            self._items.find(user, id), self._items.query(user, MESSAGES, conversation=conversation)
        )
        if item is not None and may_be_used(item):
            rated = message_of(item)
            before = turns(branch([message_of(row) for row in rows], rated.parent))
            copy = {"id": id, "user_id": user, "kind": "feedback", "conversation": conversation}
            copy |= {"message": as_json(rated), "turns": newest_turns(before, rated), **ttl_of(item, self._left(item))}
            await self._copies.write(user, upsert(copy))
            # Withdrawn or deleted while it was copied: who did that may have looked for the copy too early.
            item = await self._items.find(user, id)
        if item is None or not may_be_used(item):
            await self._withdraw(user, id)

    async def _withdraw(self, user: str, id: str) -> None:
        try:
            await self._copies.write(user, delete(id))
        except OperationFailed:
            return  # there is none

    def _new_header(self, user: str, conversation: str, question: Message) -> Item:
        return {
            "id": header_id(conversation),
            "user_id": user,
            "kind": "conversation",
            "conversation": conversation,
            "title": title_of(question.content),
            "created": question.at,
            "updated": question.at,
            "head": None,
            "seq": 0,
            "renewed": self._clock(),
            "keep": self._keep,
        }

    def _new_message(self, user: str, conversation: str, message: Message, seq: int) -> Item:
        own = {"id": message_id(conversation, message.id), "user_id": user, "kind": "message", "message": message.id}
        life = {"ttl": int(self._keep) + DAY} if self._keep else {}
        return as_json(message) | own | {"conversation": conversation, "seq": seq} | life

    def _patched(self, conversation: str, answer: Message) -> Any:
        """Return the operation that stores an answer and leaves what was said about it."""
        fields = as_json(answer)
        life = {"ttl": int(self._keep) + DAY} if self._keep else {}
        return patch(message_id(conversation, answer.id), **{name: fields[name] for name in FINISHED}, **life)

    def _life_of_header(self, header: Item) -> dict[str, int]:
        """Return the time to live of a header that is written now: the days count from its newest message."""
        if not self._keep:
            return {"ttl": -1}
        ends = datetime.fromisoformat(header["updated"]).timestamp() + self._keep
        return {"ttl": max(1, int(ends - self._clock()))}

    def _left(self, item: Item) -> int:
        """Return the seconds that an item has left to live; -1 when it lives for ever."""
        ttl = item.get("ttl", -1)
        return ttl if ttl == -1 else max(1, int(item["_ts"] + ttl - self._clock()))

    def _is_renewal_due(self, header: Item) -> bool:
        return header["keep"] != self._keep or (self._keep > 0 and self._clock() - header["renewed"] > DAY)

    async def _renew(self, user: str, conversation: str) -> None:
        """Give all messages of a conversation, and their copies, a new time to live."""
        life = int(self._keep) + DAY if self._keep else -1
        for _ in range(ATTEMPTS):
            rows = await self._items.query(user, MESSAGE_LIVES, conversation=conversation)
            copies = await self._copies.query(user, COPIES, conversation=conversation)
            try:
                for container, ids in ((self._items, [row["id"] for row in rows]), (self._copies, copies)):
                    for part in parts(ids, MOST_OPERATIONS):
                        await container.write(user, *(patch(id, ttl=life) for id in part))
            except OperationFailed:  # deleted meanwhile
                continue
            return
        raise _busy()

    async def _delete_expired(self, user: str, conversation: str) -> None:
        """Delete messages of an expired conversation with this id, which are to expire within a day."""
        if not self._keep:
            return
        rows = await self._items.query(user, MESSAGE_LIVES, conversation=conversation)
        # What another request has begun just now lives longer.
        ids = [row["id"] for row in rows if 0 <= self._left(row) <= DAY]
        try:
            await self._items.delete_each(user, ids)
        except OperationFailed:
            return  # expired meanwhile, or another request deletes them


def _busy() -> HistoryUnavailable:
    return HistoryUnavailable("the conversation is written by others at the same time", 1)
