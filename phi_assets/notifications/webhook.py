"""Posts to the webhook. Its address is a secret, which must appear in no log, error or traceback."""

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from phi_assets.notifications.messages import clean, cut

SECONDS = 10.0
ANSWER_CHARACTERS = 200
NOISY = ("httpx", "httpcore", "httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy")


@dataclass(frozen=True)
class Answer:
    """The response. `status` is 0 without one; `retry_after` is in seconds, 0 when the webhook named none."""

    status: int
    words: str
    retry_after: float = 0.0

    @property
    def received(self) -> bool:
        return 200 <= self.status < 300

    @property
    def busy(self) -> bool:
        """Whether sending another message now would probably fail too."""
        return self.status in (0, 408, 429) or self.status >= 500


def post(address: SecretStr, body: dict[str, Any]) -> Answer:
    """Send the body as JSON once. Network and HTTP errors are returned, never raised."""
    import httpx

    # Unescaped UTF-8: Teams limits the bytes, and \u escapes take up to three times as many.
    content = json.dumps(body, ensure_ascii=False).encode()
    with _unlogged():
        try:
            response = httpx.post(
                address.get_secret_value(),
                content=content,
                headers={"content-type": "application/json; charset=utf-8"},
                timeout=SECONDS,
                follow_redirects=False,
            )
        except httpx.TimeoutException:
            return Answer(0, f"no answer within {SECONDS:.0f} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as e:
            # The messages of these errors may contain the address or parts of it, so only their class is shown.
            return Answer(0, f"not reached ({type(e).__name__}); is the address of PHI_WEBHOOK right?")
    named = response.headers.get("retry-after", "")
    words = cut(clean(response.text), ANSWER_CHARACTERS)
    return Answer(response.status_code, words, float(named) if named.isdigit() else 0.0)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Suppress the logs of httpx and httpcore for this thread: they contain the address, at INFO and at DEBUG."""
    here = threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    loggers = [logging.getLogger(name) for name in NOISY]
    for logger in loggers:
        logger.addFilter(of_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(of_others)
