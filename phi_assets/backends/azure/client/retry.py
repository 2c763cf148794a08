"""The one rule for asking Azure again: which answers are worth it, how long to wait between, and when to give up."""

import random
import threading
import time
from collections.abc import Callable
from queue import Empty, Queue
from typing import TypeVar

import dagster as dg

from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client.azure_errors import GaveUp, cause_of, code_of, status_of
from phi_assets.ports.base import Log

WORD_EVERY = 30.0

T = TypeVar("T")

RETRY_MINUTES = 10.0
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_ASKED_WAIT = 300.0  # a server that asks for more is asked earlier
REPORTED_AFTER = 5.0  # shorter trouble is nobody's business
WORDS = 200  # characters of what a connection says of itself

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
EXPIRED = frozenset({"ExpiredAuthenticationToken", "InvalidAuthenticationToken", "InvalidAuthenticationInfo"})
FRESH_TOKENS = 3  # an answer 401 after this many new tokens is not about their age


def say(words: str) -> None:
    """Into the log of the run that is going on, or Dagster's own outside of one."""
    dg.get_dagster_logger().info(words)


def with_deadline(what: str, call: Callable[[], T], seconds: float) -> T:
    """What `call` returns, for a person who stands by. Raises GaveUp when it takes longer; nobody hears of it then."""
    ended: Queue[tuple[T | None, BaseException | None]] = Queue()

    def run() -> None:
        try:
            ended.put((call(), None))
        except BaseException as e:
            ended.put((None, e))

    threading.Thread(target=run, name="with_deadline", daemon=True).start()
    try:
        found, error = ended.get(timeout=seconds)
    except Empty:
        raise GaveUp(description=f"{what}: Azure did not answer within {seconds:g} s; try again later") from None
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def with_retries(what: str, call: Callable[[], T], log: Log = say, minutes: float = RETRY_MINUTES) -> T:
    """What `call` returns, asked again after answers that pass: 429 (for as long as Retry-After says), 5xx, time-outs,
    lost connections, expired tokens. `call` must be one that may be repeated. Raises GaveUp, with what was asked, when
    Azure has not answered within `minutes`; any other error as it is.
    """
    began, attempt, refreshed = time.monotonic(), 0, 0
    while True:
        try:
            return call()
        except Exception as e:
            cause = cause_of(e)
            if _expired(cause) and refreshed < FRESH_TOKENS:
                refreshed += 1
                credential.forget()
                continue
            if not is_transient(cause):
                raise
            wait = _wait(cause, attempt)
            if time.monotonic() - began + wait > minutes * 60:
                raise GaveUp(
                    description=f"{what}: Azure did not answer within {minutes:g} minutes ({_brief(cause)}); see "
                    "https://azure.status.microsoft, and run again",
                ) from e
            if wait >= REPORTED_AFTER:
                log(f"{what}: {_brief(cause)}; asking again in {wait:.0f} s")
            attempt += 1
            time.sleep(wait)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may be answered when it is made again."""
    from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError

    if isinstance(error, ServiceRequestError | ServiceResponseError | DecodeError | ConnectionError | TimeoutError):
        return True
    return status_of(error) in TRANSIENT


def may_have_been_done(error: BaseException) -> bool:
    """Whether the call may have had its effect although its answer was lost: look before doing it again."""
    return is_transient(error) and status_of(error) != 429


def _expired(error: BaseException) -> bool:
    return status_of(error) == 401 and (code_of(error) in EXPIRED or not code_of(error))


def _wait(error: BaseException, attempt: int) -> float:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    asked = headers.get("Retry-After")
    if asked and str(asked).isdigit():
        return min(float(asked), LONGEST_ASKED_WAIT)
    longest = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
    return random.uniform(longest / 2, longest)


def _brief(error: BaseException) -> str:
    status = status_of(error)
    if status:
        return f"{status} {code_of(error)}".strip()
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:WORDS]}" if words else type(error).__name__


class Waiting:
    """Begins when it is made. `what` is what is waited for."""

    def __init__(self, what: str, log: Log, minutes: float, first: float, longest: float) -> None:
        self.what, self.log, self.minutes = what, log, minutes
        self._pause, self._longest = first, longest
        self._said: set[str] = set()
        self._began = self._spoken = time.monotonic()

    def say(self, doing: str) -> None:
        """A word to the log, the first time that it is said."""
        if doing not in self._said:
            self._said.add(doing)
            self.log(f"{self.what}: {doing}")

    def pause(self, doing: str, remedy: str = "run again") -> None:
        """Some time has passed. `doing` is why it is waited for. Raises GaveUp with both at the end."""
        now = time.monotonic()
        waited = (now - self._began) / 60
        if waited + self._pause / 60 > self.minutes:
            raise GaveUp(description=f"{self.what}: gave up after {self.minutes:g} minutes ({doing}); {remedy}")
        if now - self._spoken >= WORD_EVERY:
            self.log(f"{self.what}: {doing}, {waited:.1f} minutes so far")
            self._spoken = now
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, self._longest)
