"""Asks a model's endpoint for one answer, in pieces, with deadlines and with retries before the first piece."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from chat_code.conversations import Served, Usage
from chat_code.endpoint_errors import (
    BUSY,
    EndpointCut,
    EndpointRefused,
    EndpointUnreachable,
    effective_status,
    explain,
    message_in,
    unreachable,
)
from chat_code.tracing import OFF, Tracing

LOOPBACK = ("127.0.0.1", "localhost", "::1")
# An overloaded endpoint says when to retry; more than two retries take too long for a person in a chat.
RETRIES = 2
LONGEST_PAUSE_S = 10.0
CONNECT_S, FIRST_PIECE_S, BETWEEN_PIECES_S = 10.0, 180.0, 60.0
MAX_LINE = 1_000_000


@dataclass(frozen=True)
class Endpoint:
    """An endpoint's address, and what gives the bearer credential: a key, or a fresh token; "" sends none.

    `known` adds what the project knows of a model version and the endpoint's headers do not say. `keeps`: the endpoint
    may store the words; a chat with a history of its own lets it store none. `person` is whom the chat asks for: what
    the endpoint remembers of prompts, to answer sooner, serves that person alone.
    """

    url: str
    key: Callable[[], str]
    known: Callable[[Served], Served] = lambda served: served
    keeps: bool = False
    person: str = ""
    tracing: Tracing = OFF
    connect_s: float = CONNECT_S
    first_piece_s: float = FIRST_PIECE_S
    between_pieces_s: float = BETWEEN_PIECES_S

    def cache_salt(self) -> dict[str, str]:
        """The field of a request that keeps people's prompts apart; it does not say who they are."""
        return {"cache_salt": hashlib.sha256(self.person.encode()).hexdigest()} if self.person else {}


@dataclass(frozen=True)
class Sampling:
    """Maximum tokens of the answer; temperature 0 is greedy decoding."""

    max_tokens: int = 512
    temperature: float = 0.0


@dataclass(frozen=True)
class Started:
    """The endpoint answers."""

    served: Served


@dataclass(frozen=True)
class Delta:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Finished:
    """The answer is whole. `reason` is "length" when the token limit cut it, else "stop"."""

    served: Served
    usage: Usage
    reason: Literal["stop", "length"]
    seconds: float


Piece = Started | Delta | Finished


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


async def stream(
    endpoint: Endpoint, messages: Sequence[Mapping[str, Any]], sampling: Sampling, client: httpx.AsyncClient
) -> AsyncGenerator[Piece, None]:
    """Yield Started, the answer's pieces, and Finished.

    The oldest turns are left out by the endpoint when they do not fit (`truncation`). 429 and 503, of the endpoint or
    of the model's server behind Azure's 424, and failed connections are retried before the first piece, after the delay
    in Retry-After or after about 1 and 2 seconds.

    Raises:
        EndpointUnreachable: nothing answered in time at the address.
        EndpointRefused: the endpoint answered with an error, or with something that is not a chat completion.
        EndpointCut: the stream ended before the answer did.
    """
    body = {
        "messages": list(messages),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
        "truncation": "auto",
        **endpoint.cache_salt(),
    }
    asked = endpoint.tracing.asked(messages, asdict(sampling))
    try:
        async with aclosing(_retried(endpoint, body, client, asked.headers())) as pieces:
            async for piece in pieces:
                if isinstance(piece, Delta):
                    asked.piece(piece.text)
                elif isinstance(piece, Finished):
                    asked.finished(piece.served, piece.usage, piece.reason)
                yield piece
    except (Exception, asyncio.CancelledError) as e:
        asked.failed(e)
        raise
    finally:
        asked.end()


async def _retried(
    endpoint: Endpoint, body: Mapping[str, Any], client: httpx.AsyncClient, headers: Mapping[str, str]
) -> AsyncGenerator[Piece, None]:
    started = time.monotonic()
    for attempt in range(RETRIES + 1):
        try:
            async with aclosing(_once(endpoint, body, client, headers, started)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except _Again as again:
            if attempt == RETRIES:
                raise again.error from again.error.__cause__
            await asyncio.sleep(pause(again.retry_after, attempt))


class _Again(Exception):
    """An attempt that failed before the first piece and may be repeated."""

    def __init__(self, error: Exception, retry_after: str = "") -> None:
        super().__init__()
        self.error, self.retry_after = error, retry_after


async def _once(
    endpoint: Endpoint, body: Mapping[str, Any], client: httpx.AsyncClient, more: Mapping[str, str], started: float
) -> AsyncGenerator[Piece, None]:
    url = chat_url(endpoint.url)
    key = await asyncio.to_thread(endpoint.key)
    headers = {
        **more,
        **({} if endpoint.keeps else {"x-phi-keep": "no"}),
        **({"authorization": f"Bearer {key}"} if key else {}),
    }
    timeout = httpx.Timeout(endpoint.first_piece_s, connect=endpoint.connect_s)
    try:
        request = client.build_request("POST", url, json=body, headers=headers, timeout=timeout)
        response = await client.send(request, stream=True)
    except httpx.TimeoutException as e:
        raise EndpointUnreachable(unreachable(url, e, endpoint.first_piece_s)) from e
    except httpx.TransportError as e:
        raise _Again(EndpointUnreachable(unreachable(url, e, endpoint.connect_s))) from e
    async with aclosing(response):
        if response.status_code != 200:
            text = (await _whole(response)).decode(errors="replace")
            error = EndpointRefused(explain(url, response.status_code, response.headers, text))
            if effective_status(response.status_code, response.headers) in BUSY:
                raise _Again(error, response.headers.get("retry-after", ""))
            raise error
        served = endpoint.known(_served(response))
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            for piece in _unstreamed(url, await _whole(response), served, started):
                yield piece
            return
        async with aclosing(_events(response, endpoint, url)) as events:
            async for piece in _pieces(events, served, started, url):
                yield piece


async def _pieces(
    events: AsyncGenerator[dict[str, Any] | None, None], served: Served, started: float, url: str
) -> AsyncGenerator[Piece, None]:
    usage, reason, announced = Usage(), "", False
    async for event in events:
        if event is None:  # [DONE]
            if not reason:
                raise EndpointCut(f"{url} ended the stream before the answer did; ask again")
            yield Finished(served, usage, "length" if reason == "length" else "stop", _since(started))
            return
        if event.get("error"):
            raise EndpointCut(f"the endpoint broke off: {message_in(event['error'])}")
        served = replace(served, answer_id=str(event.get("id") or served.answer_id))
        if not announced:
            announced = True
            yield Started(served)
        if isinstance(event.get("usage"), dict):
            usage = _usage(event["usage"])
        for choice in event.get("choices") or ():
            text = (choice.get("delta") or {}).get("content")
            if text:
                yield Delta(text)
            reason = choice.get("finish_reason") or reason
    raise EndpointCut(f"{url} closed the connection in the middle of the answer; ask again")


async def _events(
    response: httpx.Response, endpoint: Endpoint, url: str
) -> AsyncGenerator[dict[str, Any] | None, None]:
    """Yield the stream's events, None for the mark of its end."""
    lines = response.aiter_lines()
    wait = endpoint.first_piece_s
    while True:
        try:
            async with asyncio.timeout(wait):
                line = await anext(lines)
        except StopAsyncIteration:
            return
        except (TimeoutError, httpx.TimeoutException) as e:
            raise EndpointCut(f"{url} sent nothing for {wait:g} s; ask again, or for fewer tokens") from e
        except httpx.TransportError as e:
            raise EndpointCut(f"the connection to {url} broke ({type(e).__name__}); ask again") from e
        if len(line) > MAX_LINE:
            raise EndpointCut(f"{url} sent an event of more than {MAX_LINE:,} characters")
        if not line.startswith("data:"):
            continue
        wait = endpoint.between_pieces_s
        data = line[5:].strip()
        if data == "[DONE]":
            yield None
            return
        try:
            event = json.loads(data)
        except ValueError as e:
            raise EndpointCut(f"{url} sent an event that is not JSON: {data[:100]!r}") from e
        if not isinstance(event, dict):
            raise EndpointCut(f"{url} sent an event that is not an object: {data[:100]!r}")
        yield event


def _unstreamed(url: str, raw: bytes, served: Served, started: float) -> list[Piece]:
    """Return the pieces of an answer in one JSON object, from an endpoint that does not stream."""
    try:
        body = json.loads(raw)
        choice = body["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, str):
            raise TypeError(f"content is {type(text).__name__}")
    except (ValueError, LookupError, TypeError) as e:
        raise EndpointRefused(
            f"{url} answered 200 with something that is not a chat completion ({e!r}):"
            f" {raw[:200].decode(errors='replace')!r}; check that the address is the model's endpoint"
        ) from e
    served = replace(served, answer_id=str(body.get("id") or served.answer_id))
    served = replace(served, model=served.model or str(body.get("model", "")))
    usage = _usage(body.get("usage") or {})
    reason = "length" if choice.get("finish_reason") == "length" else "stop"
    return [Started(served), *([Delta(text)] if text else []), Finished(served, usage, reason, _since(started))]


async def _whole(response: httpx.Response) -> bytes:
    try:
        return await response.aread()
    except httpx.TransportError as e:
        raise EndpointCut(f"the connection to {response.url} broke ({type(e).__name__}); ask again") from e


def _served(response: httpx.Response) -> Served:
    headers = response.headers
    return Served(
        answer_id=headers.get("x-request-id", ""),
        deployment=headers.get("azureml-model-deployment", ""),
        model=headers.get("x-model-name", ""),
        model_version=headers.get("x-model-version", ""),
    )


def _usage(fields: Mapping[str, Any]) -> Usage:
    names = {"prompt_tokens": "prompt_tokens", "completion_tokens": "completion_tokens"}
    counts = {ours: fields.get(theirs) for ours, theirs in {**names, "dropped_turns": "phi_dropped_turns"}.items()}
    return Usage(**{name: count for name, count in counts.items() if isinstance(count, int)})


def pause(retry_after: str, attempt: int) -> float:
    """Return the seconds to wait before the next attempt: about Retry-After, else about 1, 2, ...

    A random part keeps callers that were refused together from coming back together.
    """
    try:
        delay = float(retry_after)
    except ValueError:
        delay = float(2**attempt)
    return min(max(delay, 0.1), LONGEST_PAUSE_S) * random.uniform(1.0, 1.25)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def new_client(url: str) -> httpx.AsyncClient:
    """Return a client for an endpoint. Loopback ignores proxies of the environment, which could not reach it.

    Certificates are loaded for https only, because loading them takes longer than a loopback request.
    """
    parts = urlsplit(url)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    return httpx.AsyncClient(trust_env=parts.hostname not in LOOPBACK, verify=parts.scheme == "https", limits=limits)
