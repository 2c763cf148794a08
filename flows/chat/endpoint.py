"""Sends one request to a model's endpoint, with retries when it is overloaded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
from endpoint_errors import EndpointRefused, EndpointUnreachable, effective_status, explain, unreachable

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BUSY = (429, 503)
# An overloaded endpoint says when to retry; more than two retries take too long for a user in a chat.
RETRIES = 2
LONGEST_PAUSE_S = 10.0


def chat_url(address: str) -> str:
    """Return the chat-completions URL of an endpoint's address.

    Raises:
        ValueError: the address is not an http or https URL.
    """
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).netloc:
        raise ValueError(f"{address!r} is not the address of an endpoint; it must begin with http:// or https://")
    base = address.rstrip("/")
    for ending in ("/v1/chat/completions", "/v1", "/score"):
        base = base.removesuffix(ending)
    return base + "/v1/chat/completions"


def post(url: str, body: Mapping[str, Any], *, key: str, timeout_s: float) -> tuple[httpx.Response, float]:
    """Return the endpoint's answer of status 200, and the seconds that it took, retries included.

    429 and 503, of the endpoint or of the model's server behind Azure's 424, are retried, after the delay
    in Retry-After or after 1 and 2 seconds.

    Raises:
        EndpointUnreachable: nothing answered within `timeout_s` seconds.
        EndpointRefused: another status, or still busy after the retries.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    parts = urlsplit(url)
    # Loopback ignores proxies of the environment, which could not reach it. Certificates are loaded for https only,
    # because loading them takes longer than a loopback request.
    trust_env = parts.hostname not in LOOPBACK
    with httpx.Client(timeout=timeout_s, trust_env=trust_env, verify=parts.scheme == "https") as client:
        started = time.monotonic()
        for attempt in range(RETRIES + 1):
            response = _once(client, url, body, headers, timeout_s)
            if response.status_code == 200:
                return response, time.monotonic() - started
            if effective_status(response.status_code, response.headers) not in BUSY or attempt == RETRIES:
                raise EndpointRefused(explain(url, response.status_code, response.headers, response.text))
            time.sleep(_pause(response, attempt))
    raise AssertionError("the last attempt either returned or raised")


def _once(
    client: httpx.Client, url: str, body: Mapping[str, Any], headers: Mapping[str, str], timeout_s: float
) -> httpx.Response:
    try:
        return client.post(url, json=body, headers=headers)
    except httpx.TransportError as e:
        raise EndpointUnreachable(unreachable(url, e, timeout_s)) from e


def _pause(response: httpx.Response, attempt: int) -> float:
    """Return the seconds to wait before the next attempt: the endpoint's Retry-After, else 1, 2, ..."""
    try:
        delay = float(response.headers.get("retry-after", ""))
    except ValueError:
        delay = float(2**attempt)
    return min(max(delay, 0.1), LONGEST_PAUSE_S)
