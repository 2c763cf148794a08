"""The port of the history: where conversations are kept, one person's apart from another's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from chat_code.conversations import Conversation, Feedback, Message

PAGE = 30
"""Conversations on a page of the list."""


@dataclass(frozen=True)
class Rated:
    """An answer whose rating its user lets be used, with the turns before it and the question that it answers."""

    user: str
    conversation: str
    message: Message
    turns: Sequence[dict[str, str]]


class History(ABC):
    """Conversations by user. Every method raises HistoryUnavailable when the store does not answer.

    `user` is a part of every key: no method reads across users but `rated`, which the pipeline calls.
    """

    @abstractmethod
    async def begin(
        self, user: str, conversation: str, question: Message, answer: Message
    ) -> tuple[Conversation, Message, Message]:
        """Store a question and the answer to come, both or neither, and make the conversation when it is new.

        What is stored already under these ids is returned as it is: a repeated request stores nothing twice. An answer
        that failed without a text is begun anew. The conversation's head becomes the answer.

        Raises Conflict when the question's id has other content or another parent, NotFound when the parent does not
        exist.
        """

    @abstractmethod
    async def finish(self, user: str, conversation: str, answer: Message) -> Conversation:
        """Store an answer in its last state. Raises NotFound when the conversation was deleted meanwhile."""

    @abstractmethod
    async def conversations(self, user: str, cursor: str = "", search: str = "") -> tuple[list[Conversation], str]:
        """Return a page of conversations, newest first, and the cursor of the next page; empty at the end.

        `search` is part of a title or of a message, in any case.
        """

    @abstractmethod
    async def read(self, user: str, conversation: str) -> tuple[Conversation, list[Message]]:
        """Return a conversation with all its messages, oldest first. Raises NotFound."""

    @abstractmethod
    async def change(
        self, user: str, conversation: str, *, title: str | None = None, head: str | None = None, etag: str = ""
    ) -> Conversation:
        """Rename a conversation, or show another branch. Raises NotFound, or Changed when `etag` is not the newest."""

    @abstractmethod
    async def rate(self, user: str, conversation: str, message: str, feedback: Feedback | None) -> Message:
        """Store what a person says about an answer, or withdraw it. Raises NotFound."""

    @abstractmethod
    async def delete(self, user: str, conversation: str) -> None:
        """Delete a conversation for good. Raises NotFound."""

    @abstractmethod
    async def delete_all(self, user: str) -> int:
        """Delete all of a person's conversations for good, and return their number."""

    @abstractmethod
    async def spend(self, user: str, day: str, *, requests: int, tokens: int) -> tuple[int, int]:
        """Add to what a person used on a day (`2026-11-29`), and return the day's requests and tokens."""

    @abstractmethod
    def rated(self) -> AsyncIterator[Rated]:
        """Yield every rated answer, of all users, that may be used for training."""

    @abstractmethod
    async def sweep(self, days: float) -> int:
        """Delete conversations without a new message for this many days, and return their number; 0 keeps all."""

    @abstractmethod
    async def close(self) -> None:
        """Release files and connections."""
