"""Text as comparable tokens: Unicode, case, punctuation, thousands separators and articles made alike."""

import re
import unicodedata

# Between digits, these are thousands separators: 1,000 and 1'000, and 1 000 with any of Unicode's no-break spaces.
_THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:[,'\u2019\u00a0\u2009\u202f]\d{3})+(?!\w)")
_DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
_POSSESSIVE = re.compile(r"(?<=\w)['\u2019]s\b")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")
# Chinese, Japanese and Thai are written without spaces: each character is a token there.
_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(
    rf"[{_UNSPACED}]"
    rf"|(?<![\w.])-(?=\d)(?:\d|(?<=\d)[.:/](?=\d))+"  # a negative number; the dash of a range follows a digit
    rf"|(?:[^\W_{_UNSPACED}]|(?<=\d)[.:/](?=\d))+(?:[+#]+(?!\w))?"  # 2.1.3, 10:30 and C++ are one token each
    rf"|[%$\u00a3\u20ac\u00a5\u20b9]"
)
_ARTICLES = frozenset({"the", "an"})


def normalise(text: str) -> str:
    """The text's tokens, one space apart: Unicode, case, punctuation, thousands and articles made alike.

    The article "a" stays, because "plan A" is not "plan"; `normalise_answer` drops it at the front.
    """
    text = _THOUSANDS.sub(lambda number: re.sub(r"\D", "", number.group()), text)
    text = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-").replace("\u2044", "/")
    text = _APOSTROPHE.sub("", _POSSESSIVE.sub("", _DECIMAL_COMMA.sub(".", text)))
    tokens = _TOKEN.findall(text)
    return " ".join([token for token in tokens if token not in _ARTICLES])


def normalise_answer(answer: str) -> str:
    """An accepted answer's tokens, without a leading article; empty when it has no letter, digit or currency sign."""
    normal = normalise(answer)
    return normal.removeprefix("a ")
