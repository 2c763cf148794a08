# ruff: noqa: RUF001
"""Numbers in words and digits that continue to the left or right: "three" in "twenty three", "12" in "12 million"."""

import re

_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand",
    "fr": "vingt vingts trente quarante cinquante soixante quatre cent cents mille",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa cien ciento mil",
    "tr": "on yirmi otuz kirk elli altmiş yetmiş seksen doksan yüz bin",
    "cyrillic": "двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто сто тысяча",
}
_UNITS = {
    "en": "one two three four five six seven eight nine",
    "fr": "un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
    "es": "uno una un dos tres cuatro cinco seis siete ocho nueve",
    "tr": "bir iki üç dört beş alti yedi sekiz dokuz",
    "cyrillic": "один два две три четыре пять шесть семь восемь девять",
}
_TENS_OF = {name: frozenset(words.split()) for name, words in _TENS.items()}
_UNITS_OF = {name: frozenset(words.split()) for name, words in _UNITS.items()}
_AND = frozenset({"y", "et", "and", "e"})
_ALL_AND = _AND | {"und", "en", "ve", "ja", "és", "и"}
# What multiplies the number before it.
_MULTIPLIER_WORDS = (
    "hundred thousand million millions billion billions trillion hundert tausend millionen milliarde milliarden "
    "milliard milliards millones milyon milyar sataa tuhat tuhatta miljoona miljoonaa miljardi miljardia száz ezer "
    "millió milliárd тысяч тысячи тысяча тыс миллион миллиона миллионов млн млрд миллиард миллиарда миллиардов сто "
    "الف الاف مليون ملايين مليار مئة مائة सौ हजार लाख करोड"
)
_MULTIPLIERS = frozenset(_MULTIPLIER_WORDS.split())
_MULTIPLIERS_OF = {"fr": {"mille", "cent", "cents"}, "es": {"mil"}, "pt": {"mil"}, "it": {"mila"}, "tr": {"bin", "yüz"}}
# "30 minutes" is not the answer of "2 hours 30 minutes", nor is "2 hours".
_HOURS = re.compile(
    "hours?|hrs?|h|heures?|stunden?|horas?|ore|uur|saat|tuntia?|óra|час(?:а|ов)?|시간?|時間?|时|点|點|小[时時]"
)
_MINUTES = re.compile("min(?:s|ute|utes|uten|uti|uto|utos|uuttia?)?|minuut|dakika|perc|минут[аы]?|분|分|دقيقة|मिनट|นาที")
_EAST_ASIAN = re.compile("[만천백억조万千百億亿萬兆]")
_ENDS_EAST_ASIAN = re.compile("[만천백억조万千百億亿萬兆]$")


def is_number(token: str) -> bool:
    """Whether the token is a number in digits."""
    return token.lstrip("-")[:1].isdigit()


def is_part_of_number(tokens: list[str], start: int, end: int, language: str) -> bool:
    """Whether the tokens from `start` to `end` begin or end inside a longer number."""
    name = language or "en"
    tens, units = _TENS_OF.get(name, frozenset[str]()), _UNITS_OF.get(name, frozenset[str]())
    first, last = tokens[start], tokens[end - 1]
    before = tokens[start - 1] if start else ""
    earlier = tokens[start - 2] if start > 1 else ""
    if first in units and (before in tens or (before in _AND and earlier in tens)):
        return True
    if is_number(first) and _ENDS_EAST_ASIAN.search(before) and is_number(earlier):
        return True
    after = tokens[end] if end < len(tokens) else ""
    if last.endswith(("分の", "分之", "분의")) and is_number(after):  # a fraction
        return True
    if end - start > 1 and _is_hours_and_minutes(tokens, start, end):
        return True
    if (is_number(last) or last in units) and (
        after in _MULTIPLIERS or after in _MULTIPLIERS_OF.get(name, ()) or (last in tens and after in units)
    ):
        return True
    return is_number(last) and bool(_EAST_ASIAN.match(after))


def _is_hours_and_minutes(tokens: list[str], start: int, end: int) -> bool:
    """Whether hours end at `end` and minutes follow, or minutes begin at `start` and hours precede."""
    if is_number(tokens[end - 2]) and _HOURS.fullmatch(tokens[end - 1]):
        rest = [token for token in tokens[end : end + 3] if token not in _ALL_AND][:2]
        return len(rest) == 2 and is_number(rest[0]) and bool(_MINUTES.match(rest[1]))
    if is_number(tokens[start]) and _MINUTES.match(tokens[start + 1]):
        rest = [token for token in tokens[max(0, start - 3) : start] if token not in _ALL_AND][-2:]
        return len(rest) == 2 and is_number(rest[0]) and bool(_HOURS.fullmatch(rest[1]))
    return False
