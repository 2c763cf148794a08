"""What a chat may not say: a port, a list of words, and several filters as one."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path


class FilterUnavailable(RuntimeError):
    """The filter cannot be asked: nothing passes."""


class ContentFilter(ABC):
    """Examines what a person asks and what a model answers."""

    @abstractmethod
    async def refuses(self, text: str) -> str:
        """Return why the text may not pass; "" when it may. Raises FilterUnavailable."""


class NoFilter(ContentFilter):
    """Lets everything pass."""

    async def refuses(self, text: str) -> str:
        del text
        return ""


class WordList(ContentFilter):
    """Refuses texts with a word or phrase of a file: one a line, in any case; `#` begins a comment."""

    def __init__(self, path: Path) -> None:
        lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
        words = sorted({line.casefold() for line in lines if line})
        if not words:
            raise ValueError(f"{path} has no word; write one a line, or leave PHI_CHAT_WORDS unset")
        # No word borders: they do not exist in Chinese or Japanese; elsewhere a letter beside it is another word.
        self._words = re.compile("|".join(_as_word(word) for word in words))

    async def refuses(self, text: str) -> str:
        found = self._words.search(text.casefold())
        return "it has a word of this chat's list" if found else ""


class AllOf(ContentFilter):
    """Refuses what one of several filters refuses, asked in their order."""

    def __init__(self, filters: Sequence[ContentFilter]) -> None:
        self._filters = tuple(filters)

    async def refuses(self, text: str) -> str:
        for each in self._filters:
            if refused := await each.refuses(text):
                return refused
        return ""


def _as_word(word: str) -> str:
    start = r"(?<![a-z0-9])" if re.match("[a-z0-9]", word) else ""
    end = r"(?![a-z0-9])" if re.search("[a-z0-9]$", word) else ""
    return start + re.escape(word).replace(r"\ ", r"\s+") + end
