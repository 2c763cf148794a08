"""Shared access signatures: checks clients' signatures and creates the platform's.

The texts to sign are those of "Create a user delegation SAS", "Create a service SAS" and "Create an account SAS" in
Microsoft's REST reference.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

# Fields of a user delegation key, in the order in which they are signed; the last came with version 2025-07-05.
KEY_FIELDS: tuple[str, ...] = ("skoid", "sktid", "skt", "ske", "sks", "skv")
SIGNED_FIELDS = (
    *("sp", "st", "se", "sip", "spr", "sv", "sr", "sig", "si", "ss", "srt", "ses", "sdd"),
    *("saoid", "suoid", "scid", "skdutid", "sduoid", "srh", "srq"),
)
RESPONSE_HEADERS = ("rscc", "rscd", "rsce", "rscl", "rsct")
OWN_VERSION = "2024-11-04"
CLIENT = ipaddress.ip_address("127.0.0.1")  # every client is on this machine
_UNAUTHORIZED = "This request is not authorized to perform this operation using this"


class SignatureRefused(ValueError):
    """The signature is invalid. The text is Azure's `AuthenticationErrorDetail` or, with another code, the message."""

    def __init__(self, text: str, code: str = "AuthenticationFailed") -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Signature:
    """The permissions of a valid signature."""

    letters: str  # permissions: r, w, d, l, a, c
    oid: str | None  # whose delegation key signed it; None: an account key
    container: str | None  # None: every container of the account
    blob: str | None  # None: every blob of the container
    resource_types: str = ""  # of an account signature: s, c, o


def delegation_key(secret: bytes, account: str, fields: Mapping[str, str]) -> str:
    """Return the user delegation key for these fields, which is derived, so none is stored."""
    named = "\n".join((account, *(fields.get(name, "") for name in (*KEY_FIELDS, "skdutid"))))
    return base64.b64encode(hmac.new(secret, named.encode(), hashlib.sha256).digest()).decode()


def check(
    account: str, container: str, blob: str, query: Mapping[str, str], keys: tuple[str, ...], secret: bytes
) -> Signature:
    """Return the permissions of the query's signature on a blob or container. Raises SignatureRefused."""
    if "skoid" in query:
        keys = (delegation_key(secret, account, query),)
        _in_time(query.get("skt", ""), query.get("ske", ""), "Key")
    if "ss" in query:
        if not query.get("srt"):
            raise SignatureRefused("srt is mandatory. Cannot be empty")
        text, found = _account_text(account, query), Signature(query.get("sp", ""), None, None, None, query["srt"])
    else:
        scope = query.get("sr", "")
        if scope not in ("b", "c"):
            raise SignatureRefused(f"sr={scope} is not a container (c) or a blob (b)")
        named = blob if scope == "b" else None
        text = _service_text(f"/blob/{account}/{container}" + (f"/{blob}" if named else ""), query)
        found = Signature(query.get("sp", ""), query.get("skoid"), container, named)
    if not any(hmac.compare_digest(sign(key, text), query.get("sig", "")) for key in keys):
        raise SignatureRefused(f"Signature did not match. String to sign used was {text}")
    _in_time(query.get("st", ""), query.get("se", ""), "Signature")
    if "b" not in query.get("ss", "b"):
        raise SignatureRefused(f"{_UNAUTHORIZED} service.", "AuthorizationServiceMismatch")
    if not _covers(query.get("sip", "")):
        raise SignatureRefused(f"{_UNAUTHORIZED} source IP {CLIENT}.", "AuthorizationSourceIPMismatch")
    return found


def of_container(
    account: str, container: str, letters: str, hours: float, key: str, delegated: Mapping[str, str] | None = None
) -> str:
    """Return a query string with permissions `letters` on the container and its blobs.

    It is signed with an account key, or with a delegation key whose fields are `delegated`.
    """
    now = datetime.datetime.now(datetime.UTC)
    fields = {"sp": letters, "st": moment(now - datetime.timedelta(minutes=5))}
    fields |= {"se": moment(now + datetime.timedelta(hours=hours)), "spr": "https", "sv": OWN_VERSION, "sr": "c"}
    fields |= delegated or {}
    fields["sig"] = sign(key, _service_text(f"/blob/{account}/{container}", fields))
    return urlencode(fields, quote_via=quote)


def sign(key: str, text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()).decode()


def moment(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _service_text(resource: str, query: Mapping[str, str]) -> str:
    version = query.get("sv", "")
    names = ["sp", "st", "se"]
    lines = [query.get(name, "") for name in names] + [resource]
    if "skoid" in query:
        signed = [*KEY_FIELDS, "saoid", "suoid", "scid"]
        if version >= "2025-07-05":
            signed += ["skdutid", "sduoid"]
    else:
        signed = ["si"]
    signed += ["sip", "spr", "sv", "sr", "snapshot"]
    if version >= "2020-12-06":
        signed.append("ses")
    lines += [query.get(name, "") for name in signed]
    if "skoid" in query and version >= "2026-04-06":
        lines += ["", ""]  # signed request headers and query parameters, which no client here uses
    return "\n".join(lines + [query.get(name, "") for name in RESPONSE_HEADERS])


def _account_text(account: str, query: Mapping[str, str]) -> str:
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"] + (
        ["ses"] if query.get("sv", "") >= "2020-12-06" else []
    )
    return "\n".join([account, *(query.get(name, "") for name in names)]) + "\n"


def _in_time(start: str, expiry: str, what: str) -> None:
    now = datetime.datetime.now(datetime.UTC)
    if (start and _moment(start) > now) or not expiry or _moment(expiry) <= now:
        detail = f"Start [{start}] - Expiry [{expiry}] - Current [{moment(now)}]"
        raise SignatureRefused(f"{what} not valid in the specified time frame: {detail}")


def _covers(addresses: str) -> bool:
    """Return whether the client is the signed address or in the signed range; "" allows all."""
    first, _, last = addresses.partition("-")
    try:
        return not addresses or ipaddress.ip_address(first) <= CLIENT <= ipaddress.ip_address(last or first)  # type: ignore[operator]
    except (TypeError, ValueError):
        return False


def _moment(text: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as e:
        raise SignatureRefused(f"{text} is not a time") from e
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)
