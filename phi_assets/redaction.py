"""Words of others, such as a container's log, without what must not be seen."""

import re
from collections.abc import Iterable

# A CustomConnection must have a secret: this stands where there is none, because the caller's identity is asked for.
NO_KEY = "none"

MASK = "***"
# By their look: what follows Bearer, key=, sig= and the like, and tokens of Entra's.
SECRET = re.compile(
    r"(?i)(authorization['\"]?\s*[=:]\s*['\"]?(?:bearer\s+)?|bearer\s+|key['\"]?\s*[=:]\s*['\"]?|sig=)[\w.~+/=%-]{12,}"
)
TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")


def without(words: str, secrets: Iterable[str]) -> str:
    """The words, with a mask for each of these secrets. No secret, and the word for none, mask nothing."""
    for secret in sorted({each for each in secrets if each and each != NO_KEY}, key=len, reverse=True):
        words = words.replace(secret, MASK)
    return words


def masked(words: str, secrets: Iterable[str] = ()) -> str:
    """The words without these secrets, and without what looks like one."""
    return TOKEN.sub(MASK, SECRET.sub(rf"\1{MASK}", without(words, secrets)))
