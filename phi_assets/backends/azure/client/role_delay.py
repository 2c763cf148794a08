"""Retries calls that Azure refuses because a new role assignment has not propagated yet, which takes minutes.

Done by hand because azure-core's RetryPolicy does not retry a 403, and could not tell a role that is still propagating
from another refusal.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from phi_assets.backends.azure.client.azure_errors import (
    AzureRefused,
    cause_of,
    cause_with_remedy,
    code_of,
    codes,
    refused,
    status_of,
    text_of,
)
from phi_assets.backends.azure.client.retry import log_to_run, with_retries
from phi_assets.ports.base import Log

T = TypeVar("T")

LOG_SECONDS = 30.0
FIRST_WAIT, LONGEST_WAIT = 1.0, 15.0
MISSING_ROLE_CODES = frozenset(
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
    """Whether the call was refused for a missing role, which may still be propagating."""
    found = {code_of(error), *(code for code, _ in codes(error))}
    return status_of(error) == 403 and bool(found & MISSING_ROLE_CODES)


def wait_for_role(call: Callable[[], T], what: str, log: Log = log_to_run, minutes: float = 30.0) -> T:
    """Return the result of `call`, repeated while Azure refuses it for a missing role; logs progress every 30 seconds.

    Raises AzureRefused with the role's remedy when the role is not in effect within `minutes` (PHI_AZURE_ROLE_MINUTES).
    """
    began, logged = time.monotonic(), float("-inf")
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
                reason = cause_with_remedy(codes(cause) or [(code_of(cause), text_of(cause))])
                raise AzureRefused(
                    description=f"{what}: refused for a missing role, waited {waited:.0f} minutes "
                    f"(PHI_AZURE_ROLE_MINUTES): {reason}. If the assignment is missing, materialise role_assignments",
                    allow_retries=False,
                ) from e
            if now - logged >= LOG_SECONDS:
                log(f"{what}: a role has not taken effect yet; waiting, {waited:.1f} of {minutes:g} minutes so far")
                logged = now
            time.sleep(wait)
            wait = min(wait * 1.5, LONGEST_WAIT)


def call_waiting_for_role(call: Callable[[], T], what: str, log: Log = log_to_run, minutes: float = 30.0) -> T:
    """Return the result of `call`, waiting for roles to take effect. Raises AzureRefused, with a remedy."""
    return _with_remedy(lambda: wait_for_role(call, what, log, minutes), what)


def call_with_retries(call: Callable[[], T], what: str, log: Log = log_to_run) -> T:
    """Return the result of `call`, with retries. Raises AzureRefused with a remedy at once, also for a missing role."""
    return _with_remedy(lambda: with_retries(what, call, log), what)


def _with_remedy(call: Callable[[], T], what: str) -> T:
    from azure.core.exceptions import AzureError

    try:
        return call()
    except AzureError as e:
        raise refused(what, cause_of(e)) from e
