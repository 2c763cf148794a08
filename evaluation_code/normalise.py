# ruff: noqa: RUF001
"""Text as comparable tokens: Unicode, case, punctuation, thousands separators, units and articles made alike."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from evaluation_code.languages import DOT_THOUSANDS, SPACE_THOUSANDS, language_of

HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
THAI = "\u0e00-\u0e3e\u0e40-\u0e7f"
# Written without spaces between words: Chinese, Japanese, Thai, Lao, Burmese and Khmer.
UNSPACED = f"{HAN}{KANA}{THAI}\u0e80-\u0eff\u1000-\u109f\u1780-\u17ff"
HANGUL = "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af"
ARABIC = "\u0620-\u065f\u066e-\u06d3\u06fa-\u06ff\u0750-\u077f"
INDIC = "\u0900-\u0965\u0970-\u0dff"


def _ranges(characters: Iterable[int]) -> str:
    """A regular expression's character class of these code points, which ascend."""
    found: list[list[int]] = []
    for character in characters:
        if found and found[-1][1] == character - 1:
            found[-1][1] = character
        else:
            found.append([character, character])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in found)


# `\w` has no combining marks, without which Hindi's "dilli" (Delhi) would be cut to "dil" (heart).
MARKS = _ranges(each for each in range(0x300, 0xABF0) if unicodedata.category(chr(each)).startswith("M"))

# Invisible characters that change no word: soft hyphens, joiners, direction marks, variation selectors.
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff]")
_OTHER_DIGITS = re.compile(r"[^\D0-9]")
# Spellings of one word: Turkish dotless i, Russian yo, Arabic vowel signs, alef and ya, Hindi nukta and nasals.
_SPELLINGS = str.maketrans(
    {
        "\u2212": "-",
        "\u2044": "/",
        "\u066b": ".",
        "\u066c": ",",
        "ı": "i",
        "ё": "е",
        **dict.fromkeys("أإآٱ", "ا"),
        "ى": "ي",
        "ی": "ي",
        "ک": "ك",
        **dict.fromkeys(map(chr, (*range(0x64B, 0x656), 0x670, 0x640)), None),
        "\u093c": None,
        "\u0901": "\u0902",
    }
)
# Between digits, these are thousands separators: 1,000 and 1'000, and 1 000 with any of Unicode's no-break spaces.
_THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:[,'\u2019\u00a0\u2009\u202f]\d{3})+(?!\w)")
_WITH_SPACES = re.compile(r"(?<![\w.,])\d{1,3}(?: \d{3})+(?![\w])(?!\.\d)")
_WITH_DOTS = re.compile(r"(?<![\w.,])\d{1,3}(?:\.\d{3})+(?!\w)(?!\.\d)")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_POSSESSIVE = re.compile(r"(?<=\w)['\u2019]s\b")
_ELISION = re.compile(
    r"\b([ldjmtsnc]|qu|jusqu|lorsqu|puisqu|dell|all|nell|sull|dall|un)['\u2019](?=[aeiouyhàâäéèêëîïôöûü])"
)
# Turkish writes an apostrophe between a name or a number and its endings.
_TURKISH_ENDING = re.compile(
    r"(?<=\w)['\u2019](?=(?:[dt][ae]n?|[dt][ae](?:ki|d[iu]r)|[yn]?[ae]|[yn][iu]n?|[iu]n|[dt][iu]r|ler|lar|y?l[ae])\b)"
    r"|(?<=\d)['\u2019](?=[^\W\d])"
)
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")
_UNITS = (
    "kg|mg|km|cm|mm|ml|cl|dl|kw|kwh|wh|mw|hz|khz|mhz|ghz|kb|mb|gb|tb|db|mah|min|sec|rpm|psi|bar|lbs?|oz|ft|px|[glmwvh]"
)
_UNIT = re.compile(rf"(?<![^\W\d])(?<=\d)(?:{_UNITS})(?![a-z0-9])")
_CLOCK = re.compile(r"(?<![\w.])(\d{1,2})h(\d{2})(?!\w)")
_RATE = re.compile(rf"(?<=\d )({_UNITS})/(?=(?:{_UNITS}|s)\b)")
_TOKEN = re.compile(
    rf"[{UNSPACED}](?:[{UNSPACED}{MARKS}])*"
    rf"|[{HANGUL}]+|[{ARABIC}](?:[{ARABIC}{MARKS}])*|[{INDIC}](?:[{INDIC}{MARKS}])*"
    rf"|(?<![\w.])-(?=\d)(?:\d|(?<=\d)[.:/](?=\d))+"  # a negative number; the dash of a range follows a digit
    # 2.1.3, 10:30 and C++ are one token each
    rf"|(?:[^\W_{UNSPACED}{HANGUL}{ARABIC}{INDIC}][{MARKS}]*|(?<=\d)[.:/](?=\d)|\u2215)+(?:[+#]+(?!\w))?"
    rf"|[%$\u00a3\u20ac\u00a5\u20a9\u20b9\u20ba\u20bd\u0e3f]"
)
_ARTICLES = frozenset({"the", "an"})


def normalise(text: str) -> str:
    """The text's tokens, one space apart: Unicode, case, punctuation, thousands and articles made alike.

    A token is a word, a number, or in scripts without spaces what stands between spaces, punctuation and numbers. The
    article "a" stays, because "plan A" is not "plan"; `normalise_answer` drops it at the front.
    """
    return _normalise(text, language_of(_plain(text)))


def normalise_answer(answer: str) -> str:
    """An accepted answer's tokens, without a leading article; empty when it has no letter, digit or currency sign."""
    # An answer is too short to show its language: "1 250" is one number here, "1.250" is decided by the reply.
    normal = _normalise(answer, "fr")
    return normal.removeprefix("a ")


def without_dots(token: str) -> str:
    """A number as German, Spanish or Turkish texts mean it: their 1.250 is 1250."""
    return token.replace(".", "") if _WITH_DOTS.fullmatch(token) else token


@lru_cache(maxsize=4096)
def _normalise(text: str, language: str) -> str:
    text = _INVISIBLE.sub("", text)
    text = _OTHER_DIGITS.sub(lambda digit: str(unicodedata.digit(digit.group())), text).replace("\u066c", ",")
    text = _THOUSANDS.sub(_digits, text)
    if language in SPACE_THOUSANDS:
        text = _WITH_SPACES.sub(_digits, text)
    if language in DOT_THOUSANDS:
        text = _WITH_DOTS.sub(_digits, text)
    text = _plain(text).translate(_SPELLINGS)
    text = _ELISION.sub(r"\1 ", _POSSESSIVE.sub("", _DECIMAL_COMMA.sub(".", text)))
    text = _APOSTROPHE.sub("", _TURKISH_ENDING.sub(" ", text))
    text = _RATE.sub("\\1\u2215", _UNIT.sub(r" \g<0>", _CLOCK.sub(r"\1 h \2", text)))
    tokens = _TOKEN.findall(text)
    return " ".join([token for token in tokens if token not in _ARTICLES])


def _plain(text: str) -> str:
    """The text in one case and one Unicode form; a dotted capital I of Turkish is an i."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("i\u0307", "i")


def _digits(number: re.Match[str]) -> str:
    return re.sub(r"\D", "", number.group())
