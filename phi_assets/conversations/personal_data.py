"""Finds and masks personal data and secrets in text.

Personal data is found by Presidio's pattern recognisers, which are called one by one, so that no language model is
loaded or downloaded. A cheap search first selects the recognisers that could match; most texts need none, and then
Presidio isn't imported.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from phi_assets.conversations.credentials import Finding, find_secrets

# These start with a character class, not with \b: only then can `re` skip quickly to a possible start of a match.
_LONG_NUMBER = re.compile(r"\d(?:[ ().\-/]{0,2}\d){6,}")
_ADDRESS = re.compile(r"\d(?<!\w\d)\d{0,2}(?:\.\d{1,3}){3}|[23](?<!\w[23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]*:[0-9A-Fa-f]")
_IBAN = re.compile(r"[A-Z](?<!\w[A-Z])[A-Z]\d{2}(?:[ -]?[A-Z0-9]{4}){2}")
_WALLET = re.compile(r"[b13](?<!\w[b13])[A-Za-z0-9]{25,}")
_AMERICAN = re.compile(r"(?:\+?1[ .\-])?(?:\(\d{3}\) ?|\d{3}[.\-])\d{3}[.\-]\d{4}|(?:\+?1 )?\d{3} \d{3} \d{4}")
_ABOUT_PHONES = re.compile(
    r"\b(?:phone|telephone|tel|mobile|cell|cellphone|fax|whatsapp|call|ring|dial|text|sms)\b\D*$", re.IGNORECASE
)
_ABOUT_SSN = re.compile(r"\b(?:social security|ssn)\b", re.IGNORECASE)
_ABOUT_VERSIONS = re.compile(
    r"\b(?:v|ver|version|release|build|firmware|section|chapter|oid|assembly)\b[\s:#.=-]*$|[<>=~^!]\s*$", re.IGNORECASE
)
_REACH = 40
"""Characters before a number in which a word such as "phone" refers to it."""
_REGIONS = ("US", "GB", "DE", "FR", "IN", "AU")
_DIGITS = b"0123456789"


class _Kind(NamedTuple):
    entity: str
    candidates: Callable[[str], Iterator[tuple[int, int]]]  # spans to analyse; cheap when there are none
    minimum_score: float
    accept: Callable[[str, int, int], bool]  # checks (text, start, end) again: the patterns alone give false positives


def _spans(pattern: re.Pattern[str]) -> Callable[[str], Iterator[tuple[int, int]]]:
    return lambda text: (match.span() for match in pattern.finditer(text))


def _at_signs(text: str) -> Iterator[tuple[int, int]]:
    position = text.find("@")
    while position >= 0:
        yield position, position + 1
        position = text.find("@", position + 1)


def _numbers(minimum: int, maximum: int) -> Callable[[str], Iterator[tuple[int, int]]]:
    """Runs of digits with separators that have `minimum` to `maximum` digits."""

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in _LONG_NUMBER.finditer(text):
            if minimum <= sum(map(str.isdigit, match[0])) <= maximum:
                yield match.span()

    return find


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for start, end in _numbers(7, 20)(text):
        before = text[max(0, start - _REACH) : start]
        if "+" in before[-3:] or _AMERICAN.search(text, max(0, start - 1), end) or _ABOUT_PHONES.search(before):
            yield start, end


def _always(text: str, start: int, end: int) -> bool:
    return True


def _is_public_address(text: str, start: int, end: int) -> bool:
    """Whether the address is public: loopback, private and documentation addresses and version numbers are not."""
    if _ABOUT_VERSIONS.search(text[max(0, start - _REACH) : start]) or re.match(r"\.\d", text[end : end + 2]):
        return False
    try:
        address = ipaddress.ip_interface(text[start:end]).ip
    except ValueError:
        return False
    # Only 2000::/3 is allocated in IPv6; shorter forms such as ab::cd are mostly code.
    return address.is_global and not address.is_multicast and (address.version == 4 or int(address) >> 125 == 1)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the run of digits isn't part of a decimal number."""
    return not re.search(r"\d[.,]$", text[max(0, start - 2) : start]) and not re.match(r"[.,]\d", text[end : end + 2])


def _is_phone(text: str, start: int, end: int) -> bool:
    """Whether it is an international number, one in American grouping, or one after a word such as "phone"."""
    number = text[start:end]
    if not _stands_alone(text, start, end):
        return False
    if number.startswith("+") or _AMERICAN.fullmatch(number):
        return True
    return bool(_ABOUT_PHONES.search(text[max(0, start - _REACH) : start]))


def _is_ssn(text: str, start: int, end: int) -> bool:
    with_dashes = re.fullmatch(r"\d{3}-\d{2}-\d{4}", text[start:end])
    return bool(with_dashes or _ABOUT_SSN.search(text[max(0, start - _REACH) : start]))


_KINDS = (
    _Kind("EMAIL_ADDRESS", _at_signs, 0.9, _always),
    _Kind("IBAN_CODE", _spans(_IBAN), 0.9, _always),
    _Kind("CREDIT_CARD", _numbers(12, 40), 0.9, _stands_alone),
    _Kind("CRYPTO", _spans(_WALLET), 0.9, _always),
    _Kind("IP_ADDRESS", _spans(_ADDRESS), 0.5, _is_public_address),
    _Kind("US_SSN", _numbers(9, 40), 0.0, _is_ssn),
    _Kind("PHONE_NUMBER", _phones, 0.3, _is_phone),
)


@cache
def _recognizers() -> dict[str, Any]:
    import tldextract
    from presidio_analyzer import predefined_recognizers as presidio

    # Without URLs to fetch, tldextract uses its bundled list of domains.
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(presidio.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text.rpartition("@")[2]).fqdn)

    return {
        "EMAIL_ADDRESS": OfflineEmailRecognizer(),
        "IBAN_CODE": presidio.IbanRecognizer(),
        "CREDIT_CARD": presidio.CreditCardRecognizer(),
        "CRYPTO": presidio.CryptoRecognizer(),
        "IP_ADDRESS": presidio.IpRecognizer(),
        "US_SSN": presidio.UsSsnRecognizer(),
        "PHONE_NUMBER": presidio.PhoneRecognizer(supported_regions=_REGIONS),
    }


def find_personal_data(text: str) -> Iterator[Finding]:
    """E-mail addresses, IBANs, card numbers, wallets, public IP addresses, US social security and phone numbers."""
    raw = text.encode("utf-8", "replace")
    if "@" not in text and len(raw) - len(raw.translate(None, _DIGITS)) < 3:
        return
    for kind in _KINDS:
        for start, end in _windows(text, kind.candidates(text)):
            for result in _recognizers()[kind.entity].analyze(text[start:end], [kind.entity]):
                span = start + result.start, start + result.end
                if result.score >= kind.minimum_score and kind.accept(text, *span):
                    yield Finding(*span, kind.entity)


def _windows(text: str, spans: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans with the words around them, merged where they overlap: the parts that the recognisers analyse.

    A window ends between words, or after a thousand characters.
    """
    begin = finish = -1
    for start, end in spans:
        start = max(text.rfind(" ", 0, max(0, start - _REACH)) + 1, start - 1_000, 0)
        space = text.find(" ", end + _REACH)
        end = min(space if space >= 0 else len(text), end + 1_000)
        if start <= finish:
            finish = max(finish, end)
            continue
        if finish >= 0:
            yield begin, finish
        begin, finish = start, end
    if finish >= 0:
        yield begin, finish


class Masked(NamedTuple):
    """A text without secrets and personal data, and the entities that were masked, in the order of the text."""

    text: str
    secrets: tuple[str, ...]
    personal: tuple[str, ...]


def mask(text: str) -> Masked:
    """The text with every finding replaced by its entity in angle brackets, such as `<EMAIL_ADDRESS>`."""
    secrets = [*find_secrets(text)]
    personal = [*find_personal_data(text)]
    if not secrets and not personal:
        return Masked(text, (), ())
    chosen = _without_overlaps(secrets, personal)
    parts, position = [], 0
    for finding in chosen:
        parts += [text[position : finding.start], f"<{finding.entity}>"]
        position = finding.end
    found = set(secrets)
    return Masked(
        "".join([*parts, text[position:]]),
        tuple(finding.entity for finding in chosen if finding in found),
        tuple(finding.entity for finding in chosen if finding not in found),
    )


def _without_overlaps(secrets: list[Finding], personal: list[Finding]) -> list[Finding]:
    """Findings in order of the text; where two overlap, a secret wins, then the longer one."""
    chosen: list[Finding] = []
    for group in (secrets, personal):
        for finding in sorted(set(group), key=lambda found: (found.start - found.end, found.start, found.entity)):
            if all(finding.end <= other.start or finding.start >= other.end for other in chosen):
                chosen.append(finding)
    return sorted(chosen)
