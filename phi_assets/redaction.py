"""Masks secrets in text from other programs, such as a container's log."""

import re
from collections.abc import Iterable

# A CustomConnection must have a secret: this is its value when the endpoint takes the caller's token instead of a key.
NO_KEY = "none"

MASK = "***"
# Secrets by their format: text after Bearer, key=, sig= and the like, and Entra tokens.
SECRET = re.compile(
    r"(?i)(authorization['\"]?\s*[=:]\s*['\"]?(?:bearer\s+)?|bearer\s+|key['\"]?\s*[=:]\s*['\"]?|sig=)[\w.~+/=%-]{12,}"
)
TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")


def without(text: str, secrets: Iterable[str]) -> str:
    """The text with these secrets masked. An empty secret and NO_KEY are ignored."""
    for secret in sorted({each for each in secrets if each and each != NO_KEY}, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with these secrets masked, and everything that has the format of one."""
    return TOKEN.sub(MASK, SECRET.sub(rf"\1{MASK}", without(text, secrets)))
