"""Finds phone numbers: international ones, those in a region's usual grouping, and any after a word such as "phone"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from phi_assets.conversations import personal_context as context
from phi_assets.conversations.personal_kinds import Found

# Of ten digits and more in other groups, many are orders and parts; these groupings are hardly used for anything else.
_GROUPED = {
    "US": r"(?:\+?1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}|(?:\+?1 )?\d{3} \d{3} \d{4}",
    "UK": r"07\d{3} \d{3} ?\d{3}|020 \d{4} \d{4}|01\d{3} \d{6}",
    "DE": r"01[567]\d[ /-]\d{7,8}",
    "FR": r"0[1-79](?:[ .]\d{2}){4}",
    "ES": r"[679]\d\d \d{2} \d{2} \d{2}",
    "KR": r"01[016789][- ]\d{3,4}[- ]\d{4}|0(?:2|[3-6]\d|70)-\d{3,4}-\d{4}",
    "CN": r"1[3-9]\d[- ]\d{4}[- ]\d{4}",
    "JP": r"0[5789]0-\d{4}-\d{4}|0\d-\d{4}-\d{4}|0\d{2}-\d{3}-\d{4}",
    "IN": r"[6-9]\d{4}[ -]\d{5}",
}
_LONG_NUMBER = re.compile(r"\d(?:[ ().\-/]{0,2}\d){6,}")


def phone_numbers(folded: str, spaced: str, regions: tuple[str, ...]) -> Iterator[Found]:
    """Valid phone numbers of the regions, or of any country when they begin with a plus sign."""
    for match in _LONG_NUMBER.finditer(spaced):
        if not 7 <= sum(map(str.isdigit, match[0])) <= 20:
            continue
        start, end = match.span()
        own = context.position(context.PHONE, folded, start)
        other = context.is_other(folded, start, own)
        named = not other and (own >= 0 or bool(context.PHONE.after.match(folded, end)))
        grouped = _grouped(regions)
        plus = "+" in spaced[max(0, start - 3) : start]
        if not (named or plus or (not other and grouped.search(spaced, max(0, start - 1), end))):
            continue
        for low, high in _valid(spaced, start, end, regions):
            if not _stands_alone(spaced, low, high):
                continue
            number = spaced[low:high]
            if named or number.startswith("+") or (not other and grouped.fullmatch(number)):
                yield Found(low, high, "PHONE_NUMBER", named)


@cache
def _grouped(regions: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{_GROUPED[region]})" for region in regions if region in _GROUPED) or "(?!)")


def _valid(spaced: str, start: int, end: int, regions: tuple[str, ...]) -> set[tuple[int, int]]:
    """The spans of valid numbers that overlap a run of digits; of several at one place, the longest."""
    import phonenumbers

    begin, finish = max(0, start - context.REACH), min(len(spaced), end + context.REACH)
    text = spaced[begin:finish]
    spans = {
        (begin + match.start, begin + match.end)
        for region in regions or ("US",)
        for match in phonenumbers.PhoneNumberMatcher(text, "GB" if region == "UK" else region)
    }
    inside = {one for one in spans for other in spans if one != other and other[0] <= one[0] and one[1] <= other[1]}
    return {(low, high) for low, high in spans - inside if low < end and high > start}


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the run of digits isn't part of a decimal number."""
    return not re.search(r"\d[.,]$", text[max(0, start - 2) : start]) and not re.match(r"[.,]\d", text[end : end + 2])
