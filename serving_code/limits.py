"""Checks and limits of a request: its key, the size of its body, and a place in the queue."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from serving_code.disconnect import ClientGone
from serving_code.errors import Refusal

BODY_SECONDS = 30.0


@dataclass(frozen=True)
class Limits:
    """`max_concurrency` answers are decoded together, and `max_queue` more may wait; `max_body` is in bytes.

    `kv_memory_mb` is for the keys and values of running answers and stored prefixes; 0 takes a share of what is free.
    A client that does not send its body, or does not read its answer, for so many seconds is cut off.
    """

    max_concurrency: int = 32
    max_queue: int = 32
    max_body: int = 1_000_000
    max_inputs: int = 64
    default_max_new_tokens: int = 512
    default_temperature: float = 1.0
    kv_memory_mb: int = 0
    body_seconds: float = BODY_SECONDS
    write_seconds: float = 60.0

    def __post_init__(self) -> None:
        minimums = {
            "max_concurrency": 1,
            "max_queue": 0,
            "max_body": 1,
            "max_inputs": 1,
            "default_max_new_tokens": 1,
            "kv_memory_mb": 0,
        }
        for name, minimum in minimums.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {minimum}")


def check_key(authorization: str | None, key: str | None) -> None:
    """Refuse with 401 unless the header holds the key; without a key set, none is required."""
    if key is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise Refusal(
            401,
            "no key was given; send the header 'Authorization: Bearer <key>' with this endpoint's key",
            code="missing_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if not hmac.compare_digest(given.strip().encode(), key.encode()):
        raise Refusal(
            401,
            "the key is wrong; send this endpoint's key in the header 'Authorization: Bearer <key>'",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )


async def read_json(request: Request, limits: Limits) -> dict[str, Any]:
    """The body as a JSON object; 400 when it is none, and refusals of `read_body`."""
    raw = await read_body(request, limits.max_body, limits.body_seconds)
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Refusal(400, f"the body is not valid JSON ({e}); send a JSON object", code="invalid_json") from e
    if not isinstance(value, dict):
        raise Refusal(400, "the body is JSON but not an object; send {...}", code="invalid_json")
    return value


async def read_body(request: Request, max_body: int, seconds: float = BODY_SECONDS) -> bytes:
    """The body's bytes; 413 as soon as it is known to be larger than `max_body` bytes, 408 after `seconds`."""
    declared = request.headers.get("content-length", "")
    body = bytearray()
    too_large = Refusal(
        413, f"the body is larger than {max_body:,} bytes; send fewer or shorter messages", code="request_too_large"
    )
    if declared.isdigit() and int(declared) > max_body:
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_body:
                    raise too_large
    except ClientDisconnect as e:
        raise ClientGone from e
    except TimeoutError as e:
        raise Refusal(
            408, f"the body did not arrive within {seconds:g} s; send it again", code="request_timeout",
            headers={"Connection": "close"},
        ) from e  # fmt: skip
    return bytes(body)


class Admission:
    """Counts the answers being decoded or waiting; used from one event loop only."""

    def __init__(self, limits: Limits) -> None:
        self._capacity = limits.max_concurrency + limits.max_queue
        self.inside = 0

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold `count` places, or refuse with 429. A request above the limit is admitted when it is the only one."""
        if self.inside and self.inside + count > self._capacity:
            raise Refusal(
                429,
                f"{self.inside} answers are being generated or waiting, and the limit is {self._capacity}; "
                "try again after the seconds in Retry-After",
                code="too_many_requests",
                headers={"Retry-After": "1"},
            )
        self.inside += count
        try:
            yield
        finally:
            self.inside -= count
