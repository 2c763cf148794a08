"""Roles take minutes to arrive: a refusal for want of one is waited out where the call is made."""

import time
from collections.abc import Callable
from typing import TypeVar

from phi_assets.backends.azure.client.azure_errors import (
    AzureRefused,
    cause_of,
    code_of,
    codes,
    refused,
    sentence,
    status_of,
    text_of,
)
from phi_assets.backends.azure.client.retry import say, with_retries
from phi_assets.ports.base import Log

T = TypeVar("T")

WORD_EVERY = 30.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0
FOR_WANT_OF_A_ROLE = frozenset(
    {
        "AuthorizationFailed",
        "AuthorizationPermissionMismatch",
        "AuthorizationFailure",
        "LinkedAuthorizationFailed",
        "InsufficientPermissions",
        "Forbidden",
    }
)


def lacks_role(error: BaseException) -> bool:
    """Whether the call was refused for want of a role, which may still be on its way."""
    named = {code_of(error), *(code for code, _ in codes(error))}
    return status_of(error) == 403 and bool(named & FOR_WANT_OF_A_ROLE)


def wait_for_role(call: Callable[[], T], what: str, log: Log = say, minutes: float = 30.0) -> T:
    """What `call` returns, asked again while Azure refuses it for want of a role, with a word every 30 seconds.

    Raises AzureRefused with the role's remedy when the role has not arrived within `minutes` (PHI_AZURE_ROLE_MINUTES).
    """
    began, spoken = time.monotonic(), float("-inf")
    wait = FIRST_WAIT
    while True:
        try:
            return with_retries(what, call, log)
        except Exception as e:
            cause = cause_of(e)
            if not lacks_role(cause):
                raise
            now = time.monotonic()
            waited = (now - began) / 60
            if now - began + wait > minutes * 60:
                told = sentence(codes(cause) or [(code_of(cause), text_of(cause))])
                raise AzureRefused(
                    description=f"{what}: refused for want of a role, waited {waited:.0f} minutes "
                    f"(PHI_AZURE_ROLE_MINUTES): {told}. If the assignment is missing, materialise role_assignments",
                    allow_retries=False,
                ) from e
            if now - spoken >= WORD_EVERY:
                log(f"{what}: a role has not taken effect yet; waiting, {waited:.1f} of {minutes:g} minutes so far")
                spoken = now
            time.sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)


def call_waiting_for_role(call: Callable[[], T], what: str, log: Log = say, minutes: float = 30.0) -> T:
    """What `call` returns, once roles have taken effect. Raises AzureRefused with a remedy for every refusal."""
    return _told(lambda: wait_for_role(call, what, log, minutes), what)


def call_with_retries(call: Callable[[], T], what: str, log: Log = say) -> T:
    """What `call` returns, with retries. Raises AzureRefused with a remedy at once, also for a missing role."""
    return _told(lambda: with_retries(what, call, log), what)


def _told(call: Callable[[], T], what: str) -> T:
    from azure.core.exceptions import AzureError

    try:
        return call()
    except AzureError as e:
        raise refused(what, cause_of(e)) from e
