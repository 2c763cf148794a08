"""Azure AI Content Safety as the chat's filter: https://learn.microsoft.com/azure/ai-services/content-safety."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx

from chat_code.content_filter import ContentFilter, FilterUnavailable

SCOPE = "https://cognitiveservices.azure.com/.default"
VERSION = "2024-09-01"
SEVERITIES = (2, 4, 6)
LONGEST_TEXT = 10_000
"""Characters that the service reads in one request."""
OVERLAP = 200
"""Characters that two requests share, so that a sentence on their border is read whole by one."""
SECONDS = 20.0


class ContentSafety(ContentFilter):
    """Refuses what the service rates `severity` (2: low, 4: medium, 6: high) or above in any of its four categories.

    `endpoint` is the resource's address, `token` gives an Entra token for SCOPE. A service that cannot be asked in
    SECONDS, or that answers with an error, lets nothing pass.
    """

    def __init__(
        self,
        endpoint: str,
        token: Callable[[], str],
        severity: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if severity not in SEVERITIES:
            raise ValueError(f"a severity of Content Safety is one of {SEVERITIES}, not {severity}")
        self._url = f"{endpoint.rstrip('/')}/contentsafety/text:analyze"
        self._token, self._severity = token, severity
        self._client = httpx.AsyncClient(timeout=SECONDS, transport=transport)

    async def refuses(self, text: str) -> str:
        for start in range(0, max(len(text), 1), LONGEST_TEXT - OVERLAP):
            for found in await self._analysed(text[start : start + LONGEST_TEXT]):
                if found["severity"] >= self._severity:
                    return f"Azure AI Content Safety found {found['category']} (severity {found['severity']} of 6)"
        return ""

    async def _analysed(self, text: str) -> list[dict[str, Any]]:
        """Return category and severity (an integer from 0 to 6) of each category. Raises FilterUnavailable."""
        if not text.strip():
            return []
        try:
            token = await asyncio.to_thread(self._token)
            reply = await self._client.post(
                self._url,
                params={"api-version": VERSION},
                headers={"authorization": f"Bearer {token}"},
                json={"text": text, "outputType": "FourSeverityLevels"},
            )
            if reply.status_code != httpx.codes.OK:
                raise FilterUnavailable(f"the content filter cannot be asked: it answers {_why(reply)}")
            found = reply.json()["categoriesAnalysis"]
            return [{"category": str(each["category"]), "severity": int(each["severity"])} for each in found]
        except FilterUnavailable:
            raise
        except Exception as e:  # credentials raise errors of many libraries; none may let a text pass
            raise FilterUnavailable(f"the content filter cannot be asked: {type(e).__name__}: {e}"[:300]) from e


def entra_token(client_id: str | None) -> Callable[[], str]:
    """Return what gives tokens: of the container's identity, or of whoever is signed in on this machine.

    Raises ValueError when Azure's packages are not installed.
    """
    try:
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
    except ImportError as e:
        raise ValueError(
            "PHI_CHAT_CONTENT_SAFETY asks Azure, whose packages are not installed: pip install 'phi-assets[azure]'"
        ) from e
    credential = ManagedIdentityCredential(client_id=client_id) if client_id else DefaultAzureCredential()
    return lambda: credential.get_token(SCOPE).token


def _why(reply: httpx.Response) -> str:
    """Return status and code of an error, and no text of the request."""
    try:
        code = str(reply.json()["error"]["code"])
    except (ValueError, LookupError, TypeError):
        code = reply.reason_phrase
    missing = "; its identity needs the role Cognitive Services User" if reply.status_code in (401, 403) else ""
    return f"{reply.status_code} {code}{missing}"
