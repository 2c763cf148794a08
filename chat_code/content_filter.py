"""What a chat may not say: a port, a list of words, and Azure AI Content Safety."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import httpx

API_VERSION = "2024-09-01"
TIMEOUT_S = 15.0
MAX_CHARACTERS = 10_000
"""The longest text of one request to Azure AI Content Safety."""
CATEGORIES = ("Hate", "SelfHarm", "Sexual", "Violence")


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
            raise ValueError(f"{path} has no word; write one a line, or set PHI_CHAT_FILTER=off")
        # No word borders: they do not exist in Chinese or Japanese; elsewhere a letter beside it is another word.
        self._words = re.compile("|".join(_as_word(word) for word in words))

    async def refuses(self, text: str) -> str:
        found = self._words.search(text.casefold())
        return "it has a word of this chat's list" if found else ""


def _as_word(word: str) -> str:
    start = r"(?<![a-z0-9])" if re.match("[a-z0-9]", word) else ""
    end = r"(?![a-z0-9])" if re.search("[a-z0-9]$", word) else ""
    return start + re.escape(word).replace(r"\ ", r"\s+") + end


class AzureContentSafety(ContentFilter):
    """Asks Azure AI Content Safety. A severity of `threshold` (0, 2, 4 or 6) or more in any category is refused."""

    def __init__(self, address: str, token: Callable[[], str], client: httpx.AsyncClient, threshold: int = 4) -> None:
        self._url = f"{address.rstrip('/')}/contentsafety/text:analyze?api-version={API_VERSION}"
        self._token, self._client, self._threshold = token, client, threshold

    async def refuses(self, text: str) -> str:
        for start in range(0, len(text), MAX_CHARACTERS):
            refused = await self._piece(text[start : start + MAX_CHARACTERS])
            if refused:
                return refused
        return ""

    async def _piece(self, text: str) -> str:
        body = {"text": text, "categories": list(CATEGORIES), "outputType": "FourSeverityLevels"}
        try:
            headers = {"authorization": f"Bearer {await asyncio.to_thread(self._token)}"}
            answer = await self._client.post(self._url, json=body, headers=headers, timeout=TIMEOUT_S)
            answer.raise_for_status()
            found = {each["category"]: int(each["severity"]) for each in answer.json()["categoriesAnalysis"]}
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as e:
            raise FilterUnavailable(f"the content filter cannot be asked, and nothing passes without it ({e})") from e
        worst = [category for category, severity in found.items() if severity >= self._threshold]
        return f"Azure AI Content Safety found {', '.join(worst)}" if worst else ""
