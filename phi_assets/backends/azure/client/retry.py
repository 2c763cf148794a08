"""Retries of calls to Azure: which errors are transient, how long to wait, and when to give up.

Not azure-core's RetryPolicy alone: that works within one pipeline, knows no overall deadline, logs nothing to the run,
and does not see an expired token, nor the errors that azure-ai-ml wraps. It stays enabled with a few quick retries.
"""

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

LOG_SECONDS = 30.0

T = TypeVar("T")

RETRY_MINUTES = 10.0
FIRST_WAIT = 0.5
LONGEST_WAIT = 30.0
LONGEST_RETRY_AFTER = 300.0  # a longer Retry-After is cut to this
LOGGED_WAIT = 5.0  # shorter waits are not logged
MAX_ERROR_LENGTH = 200  # characters of a connection error's text

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
EXPIRED = frozenset({"ExpiredAuthenticationToken", "InvalidAuthenticationToken", "InvalidAuthenticationInfo"})
MAX_TOKEN_REFRESHES = 3  # a 401 after this many new tokens has another cause than an expired token


def log_to_run(message: str) -> None:
    """Log to the current Dagster run, or to Dagster's own logger outside of a run."""
    dg.get_dagster_logger().info(message)


def with_deadline(what: str, call: Callable[[], T], seconds: float) -> T:
    """Return the result of `call`, for an interactive command. Raises GaveUp after `seconds`; a late result is lost."""
    ended: Queue[tuple[T | None, BaseException | None]] = Queue()

    def run() -> None:
        try:
            ended.put((call(), None))
        except BaseException as e:
            ended.put((None, e))

    threading.Thread(target=run, name="with_deadline", daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except Empty:
        raise GaveUp(description=f"{what}: Azure did not answer within {seconds:g} s; try again later") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def with_retries(what: str, call: Callable[[], T], log: Log = log_to_run, minutes: float = RETRY_MINUTES) -> T:
    """Return the result of `call`, repeated after transient errors: 429 (after its Retry-After), 5xx, timeouts, lost
    connections, expired tokens. `call` must be idempotent. Raises GaveUp, with `what` was called, when Azure has not
    answered within `minutes`; every other error is raised unchanged.
    """
    began, attempt, refreshed = time.monotonic(), 0, 0
    while True:
        try:
            return call()
        except Exception as e:
            cause = cause_of(e)
            if _expired(cause) and refreshed < MAX_TOKEN_REFRESHES:
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
            if wait >= LOGGED_WAIT:
                log(f"{what}: {_brief(cause)}; retrying in {wait:.0f} s")
            attempt += 1
            time.sleep(wait)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed when it is repeated."""
    from azure.core.exceptions import DecodeError, ServiceRequestError, ServiceResponseError

    if isinstance(error, ServiceRequestError | ServiceResponseError | DecodeError | ConnectionError | TimeoutError):
        return True
    return status_of(error) in TRANSIENT


def may_have_taken_effect(error: BaseException) -> bool:
    """Whether the call may have taken effect although its response was lost, so that its result must be read first."""
    return is_transient(error) and status_of(error) != 429


def _expired(error: BaseException) -> bool:
    return status_of(error) == 401 and (code_of(error) in EXPIRED or not code_of(error))


def _wait(error: BaseException, attempt: int) -> float:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    retry_after = headers.get("Retry-After")
    if retry_after and str(retry_after).isdigit():
        return min(float(retry_after), LONGEST_RETRY_AFTER)
    longest = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)
    return random.uniform(longest / 2, longest)


def _brief(error: BaseException) -> str:
    status = status_of(error)
    if status:
        return f"{status} {code_of(error)}".strip()
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:MAX_ERROR_LENGTH]}" if text else type(error).__name__


class PollTimer:
    """Paces and logs one polling loop, with growing pauses and a timeout that starts when the timer is created.

    `what` names the operation that is polled; `first` and `longest` are pauses in seconds.
    """

    def __init__(self, what: str, log: Log, minutes: float, first: float, longest: float) -> None:
        self.what, self.log, self.minutes = what, log, minutes
        self._pause, self._longest = first, longest
        self._messages: set[str] = set()
        self._began = self._logged = time.monotonic()

    def log_once(self, message: str) -> None:
        """Log the message unless it was logged before."""
        if message not in self._messages:
            self._messages.add(message)
            self.log(f"{self.what}: {message}")

    def pause(self, doing: str, remedy: str = "run again") -> None:
        """Sleep until the next poll. `doing` is the current state. Raises GaveUp with both texts after the timeout."""
        now = time.monotonic()
        waited = (now - self._began) / 60
        if waited + self._pause / 60 > self.minutes:
            raise GaveUp(description=f"{self.what}: gave up after {self.minutes:g} minutes ({doing}); {remedy}")
        if now - self._logged >= LOG_SECONDS:
            self.log(f"{self.what}: {doing}, {waited:.1f} minutes so far")
            self._logged = now
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, self._longest)
