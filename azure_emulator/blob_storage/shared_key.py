"""Checks requests signed with an account key ("Authorize with Shared Key" in Microsoft's REST reference)."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence

from azure_emulator.blob_storage.sas import sign

_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def is_signed_by(
    keys: Sequence[str], account: str, method: str, raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]
) -> bool:
    """Return whether the `Authorization: SharedKey account:signature` header was made with one of the keys."""
    named, _, signature = headers.get("authorization", "").removeprefix("SharedKey ").partition(":")
    text = text_to_sign(account, method, raw_path, query, headers)
    return named == account and any(hmac.compare_digest(sign(key, text), signature) for key in keys)


def text_to_sign(account: str, method: str, raw_path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    signed = dict(headers)
    if signed.get("content-length") == "0":
        del signed["content-length"]
    # The service ignores hyphens when it sorts header names.
    own = sorted((name for name in signed if name.startswith("x-ms-")), key=lambda name: name.replace("-", ""))
    lines = [method, *(signed.get(name, "") for name in _SIGNED_HEADERS)]
    lines += [f"{name}:{signed[name]}" for name in own]
    lines += [f"/{account}{raw_path}", *(f"{name.lower()}:{query[name]}" for name in sorted(query))]
    return "\n".join(lines)
