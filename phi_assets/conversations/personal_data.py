"""Finds and masks personal data and secrets in text.

Personal data is found by forms, check digits and the words beside them, with Presidio's pattern recognisers called one
by one, so that no language model is loaded or downloaded. A cheap search goes first; most texts need no more, and then
Presidio isn't imported. Names and addresses are found only by a model that the user keeps (`names_model`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from phi_assets.conversations.credentials import Finding, find_secrets
from phi_assets.conversations.personal_kinds import KINDS, REGIONS, Found, addresses, kinds_of, numbers
from phi_assets.conversations.phone_numbers import phone_numbers

# In the order in which equally long findings of one place win.
ENTITIES = ("EMAIL_ADDRESS", "IBAN_CODE", "CRYPTO", "IP_ADDRESS", *(kind.entity for kind in KINDS), "PHONE_NUMBER")
_RANK = {entity: rank for rank, entity in enumerate(ENTITIES)}
_DIGITS = b"0123456789"
# One character each: full-width forms, dashes and spaces become those of ASCII, so that positions stay.
_FOLDED = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},
    **dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212), "-"),
    **dict.fromkeys((0xA0, 0x2007, 0x2009, 0x202F, 0x3000), " "),
}
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_OTHER_FORM = re.compile(r"[^\D0-9]|\uff20")
_OTHER_SCRIPT = re.compile("[^\x00-\u024f]")
_BORDER = "\u00a6"
"""Stands for letters of other scripts than Latin: no digit, letter or separator, so a word ends at it."""


def find_personal_data(text: str, regions: tuple[str, ...] = REGIONS) -> Iterator[Finding]:
    """The values of `ENTITIES` in the text; where two overlap, the one that a word beside it names, then the longer."""
    raw = text.encode("utf-8", "replace")
    few = len(raw) - len(raw.translate(None, _DIGITS)) < 3
    if few and "@" not in text and (text.isascii() or not _OTHER_FORM.search(text)):
        return
    folded = spaced = text
    if not text.isascii():
        folded = _OTHER_DIGIT.sub(lambda digit: str(unicodedata.digit(digit[0])), text.translate(_FOLDED))
        spaced = _OTHER_SCRIPT.sub(_BORDER, folded)
    found = [*addresses(folded, spaced)]
    found += [*numbers(folded, spaced, kinds_of(regions)), *phone_numbers(folded, spaced, regions)]
    taken: list[Found] = []
    for each in sorted(found, key=lambda one: (not one.named, one.start - one.end, _RANK[one.entity], one.start)):
        if all(each.end <= other.start or each.start >= other.end for other in taken):
            taken.append(each)
            yield Finding(each.start, each.end, each.entity)


def kinds_found(regions: tuple[str, ...] = REGIONS, names_model: str = "") -> list[str]:
    """The kinds of personal data that `mask` finds with these settings, by the names of their masks."""
    names = ["PERSON", "ADDRESS"] if names_model else []
    kinds = {kind.entity for kind in kinds_of(regions)} | set(ENTITIES) - {kind.entity for kind in KINDS}
    return sorted({*kinds, *names})


class Masked(NamedTuple):
    """A text without secrets and personal data, and the entities that were masked, in the order of the text."""

    text: str
    secrets: tuple[str, ...]
    personal: tuple[str, ...]


def mask(text: str, regions: tuple[str, ...] = REGIONS, names_model: str = "") -> Masked:
    """The text with every finding replaced by its entity in angle brackets, such as `<EMAIL_ADDRESS>`."""
    return _mask(text, regions, names_model)


@lru_cache(maxsize=64)  # The quarantine masks the turns of a row that was just masked.
def _mask(text: str, regions: tuple[str, ...], names_model: str) -> Masked:
    secrets = [*find_secrets(text)]
    personal = [*find_personal_data(text, regions)]
    if names_model:
        from phi_assets.conversations.names_model import find_names

        personal += find_names(text, names_model)
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


def _without_overlaps(secrets: Iterable[Finding], personal: Iterable[Finding]) -> list[Finding]:
    """Findings in order of the text; where two overlap, a secret wins, then the longer one."""
    chosen: list[Finding] = []
    for group in (secrets, personal):
        for finding in sorted(set(group), key=lambda found: (found.start - found.end, found.start, found.entity)):
            if all(finding.end <= other.start or finding.start >= other.end for other in chosen):
                chosen.append(finding)
    return sorted(chosen)
