"""Who asks: the owner of this machine, by a cookie; or the person that Azure's sign-in names, by a header."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from chat_code.errors import Refused

LINK_SECONDS = 120
COOKIE_DAYS = 30
OWNER = "owner"
PRINCIPAL = "x-ms-client-principal"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLAIMS = "http://schemas.microsoft.com/identity/claims/"


@dataclass(frozen=True)
class Person:
    """`user` is a part of every key of the history; `name` is shown."""

    user: str
    name: str


class WhoAsks(ABC):
    """Finds out who sends a request."""

    sign_out: str | None = None
    local = False

    @abstractmethod
    def person(self, request: Request) -> Person:
        """Return the person. Raises Refused (`signed_out`)."""

    def by_key(self, request: Request) -> Person:
        """Return the person of a program's request, which has a bearer key. Raises Refused."""
        return self.person(request)


class OwnerOfThisMachine(WhoAsks):
    """Knows the owner by a cookie that a link with a one-time token gives; programs send a key.

    Other users of the machine reach the server too, and so does any page that the owner's browser has open.
    """

    local = True

    def __init__(self, secret: str, port: int) -> None:
        self._secret = secret.encode()
        self.cookie = f"phi_chat_{port}"
        self._used: dict[str, float] = {}

    def person(self, request: Request) -> Person:
        value = request.cookies.get(self.cookie, "")
        until, _, signature = value.partition(".")
        right = hmac.compare_digest(signature, _signature(self._secret, f"cookie {until}"))
        if not right or not until.isdigit() or int(until) < time.time():
            raise Refused("signed_out", "open the chat by the link that `phi chat` prints")
        return Person(OWNER, "")

    def by_key(self, request: Request) -> Person:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip(), program_key(self._secret.decode())):
            raise Refused(
                "signed_out", "send the header 'Authorization: Bearer <key>'; `phi chat --key` prints the key"
            )
        return Person(OWNER, "")

    def redeem(self, token: str) -> str | None:
        """Return a cookie's value for a one-time token; None when it is wrong, too old, or used before."""
        until, _, rest = token.partition(".")
        nonce, _, signature = rest.partition(".")
        wanted = _signature(self._secret, f"link {until} {nonce}")
        if not hmac.compare_digest(signature, wanted) or not until.isdigit() or int(until) < time.time():
            return None
        self._used = {used: end for used, end in self._used.items() if end >= time.time()}
        if nonce in self._used:
            return None
        self._used[nonce] = int(until)
        end = int(time.time()) + COOKIE_DAYS * 86_400
        return f"{end}.{_signature(self._secret, f'cookie {end}')}"


def link_token(secret: str) -> str:
    """Return a token that opens the page once, within LINK_SECONDS."""
    until, nonce = int(time.time()) + LINK_SECONDS, secrets.token_urlsafe(12)
    return f"{until}.{nonce}.{_signature(secret.encode(), f'link {until} {nonce}')}"


def program_key(secret: str) -> str:
    """Return the key for other programs of the owner."""
    return "phi-" + _signature(secret.encode(), "key")


def _signature(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


class SignedInByContainerApps(WhoAsks):
    """Reads the principal that the built-in sign-in of Azure Container Apps puts into a header.

    The header is not signed: the platform removes it from requests only while its sign-in is on, which the deployment
    and every status check prove from outside. People of another tenant are refused.
    """

    sign_out = "/.auth/logout"

    def __init__(self, tenant: str) -> None:
        if not GUID.fullmatch(tenant.lower()):
            raise ValueError(f"the tenant {tenant!r} is not a GUID")
        self._tenant = tenant.lower()

    def person(self, request: Request) -> Person:
        header = request.headers.getlist(PRINCIPAL)
        if len(header) != 1:
            raise Refused("signed_out", "sign in first")
        claims = _claims(header[0])
        tenant, subject = _first(claims, "tid", "tenantid"), _first(claims, "oid", "objectidentifier")
        if not GUID.fullmatch(tenant) or not GUID.fullmatch(subject):
            raise Refused("signed_out", "the sign-in names no person; sign out, and in again")
        if tenant != self._tenant:
            raise Refused("forbidden", "this chat is for people of another organisation")
        name = claims.get("name") or claims.get("preferred_username") or ""
        return Person(f"{tenant}.{subject}", name[:200])


def _claims(header: str) -> Mapping[str, str]:
    try:
        principal: Any = json.loads(base64.b64decode(header, validate=True))
        return {str(claim["typ"]): str(claim["val"]) for claim in reversed(principal["claims"])}
    except (ValueError, LookupError, TypeError) as e:
        raise Refused("signed_out", "the sign-in cannot be read; sign out, and in again") from e


def _first(claims: Mapping[str, str], short: str, long: str) -> str:
    return (claims.get(short) or claims.get(_CLAIMS + long) or "").lower()
