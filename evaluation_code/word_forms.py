# ruff: noqa: RUF001
"""Whether a word of a reply is a form of a word of the answer: closed lists of endings, never a free prefix.

Numbers have no forms. Where stems change beyond these rules, the answers of a question list the forms.
"""

import re
import unicodedata
from functools import lru_cache

from evaluation_code.korean import is_korean_form
from evaluation_code.latin_endings import is_latin_form


def is_form(token: str, word: str, language: str, *, first: bool, last: bool, after_number: bool) -> bool:
    """Whether `token` is `word` with endings or prefixes that its script and the text's language attach.

    `first` and `last` say where the word stands in the answer: particles attach to its last word, in Arabic
    to its first.
    `after_number`: the word is a unit or what is counted.
    """
    if token == word:
        return True
    if not word[0].isalpha() or not token[0].isalpha():
        return False
    script = unicodedata.name(word[0], "").partition(" ")[0]
    if script == "HANGUL":
        return last and is_korean_form(token, word, after_number=after_number)
    if script == "ARABIC":
        return _arabic(token, word, first, after_number)
    if script == "CYRILLIC":
        return token in _russian(word) or word in _russian(token)
    if script == "DEVANAGARI":
        return len(word) > 2 and token in _hindi(word)
    if script == "LATIN":
        return is_latin_form(token, word, language, last=last, after_number=after_number)
    return False


# Arabic: conjunctions, prepositions and the article before a word, attached pronouns after it.
_ARABIC_BEFORE = re.compile("(?:[وف])?(?:لل|[بكل]?ال|[بكل])?")
_ARABIC_AFTER = re.compile("(?:ها|هم|هن|نا|كم|ه)?")


def _arabic(token: str, word: str, first: bool, after_number: bool) -> bool:
    bare, had_article = (word[2:], True) if word.startswith("ال") and len(word) > 4 else (word, False)
    place = token.find(bare)
    if len(bare) < 2 or place < 0:
        return False
    before, after = token[:place], token[place + len(bare) :]
    if after_number and not before and after in ("", "ا"):
        return True
    if after_number and token + "ا" == word:
        return True
    if before and not (_ARABIC_BEFORE.fullmatch(before) and (first or before == "ال")):
        return False
    has_article = before.endswith(("ال", "لل"))
    # One letter before a short word is mostly part of another word; that of f-k-r is not that of k-r.
    if before and not has_article and len(bare) < (3 if set(before) <= set("بلو") else 4):
        return False
    if had_article and not has_article:
        return False
    return not after or (not has_article and len(bare) > 2 and bool(_ARABIC_AFTER.fullmatch(after)))


_HARD = ("", "а", "у", "ом", "ем", "е", "и", "ы", "ов", "ев", "ам", "ами", "ах")
_SOFT = ("ь", "я", "ю", "ем", "е", "и", "ей", "ям", "ями", "ях", "ью")
_ADJECTIVE = ("ый", "ий", "ой", "ого", "его", "ому", "ему", "ым", "им", "ом", "ем", "ая", "яя", "ую", "юю", "ое", "ее",
              "ые", "ие", "ых", "их", "ыми", "ими", "ей")  # fmt: skip
_RUSSIAN = (  # by the end of the word: what is cut, and the endings that take its place
    (r"[ыио]й", 2, (*_ADJECTIVE, "ь")),
    (r"(?:ая|яя|ое|ые|ие)", 2, _ADJECTIVE),
    (r"ия", 1, ("я", "и", "ю", "ей", "й", "ям", "ями", "ях")),
    (r"ие", 1, ("е", "я", "ю", "ем", "и", "й")),
    (r"а", 1, ("а", "ы", "и", "е", "у", "ой", "ей", "", "ам", "ами", "ах")),
    (r"я", 1, ("я", "и", "е", "ю", "ей", "ь", "ям", "ями", "ях")),
    (r"о", 1, ("о", "а", "у", "ом", "е", "", "ам", "ами", "ах")),
    (r"е", 1, ("е", "я", "ю", "ем", "ей", "ям", "ями", "ях")),
    (r"й", 1, ("й", "я", "ю", "ем", "е", "и", "ев", "ям", "ями", "ях")),
    (r"ь", 1, _SOFT),
    (r"[бвгджзклмнпрстфхцчшщ]", 0, _HARD),
)
_RUSSIAN_SETS = tuple(
    frozenset(words.split())
    for words in (
        "год года году годом годы годов лет", "день дня дню днем дни дней дням днями днях", "час часа часов часы часу",
        "два две двух двум двумя", "три трех трем тремя", "четыре четырех четырем", "один одна одно одного одной одну",
    )
)  # fmt: skip
_FLEETING = re.compile(r"([бвгджзклмнпрстфхцчшщ])[ео]([клмнрц])$")


@lru_cache(maxsize=4096)
def _russian(word: str) -> frozenset[str]:
    """The declined forms of a noun or an adjective, and of a few irregular words of counting."""
    found = next((words for words in _RUSSIAN_SETS if word in words), None)
    if found or len(word) < 3:
        return found or frozenset({word})
    forms = set[str]()
    for end, cut, endings in _RUSSIAN:
        stem = word[: len(word) - cut]
        if len(stem) > 1 and re.search(rf"{end}$", word):
            forms |= {stem + ending for ending in endings}
    if _FLEETING.search(word):
        forms |= {_FLEETING.sub(r"\1\2", word) + ending for ending in _HARD if ending}
    return frozenset(forms)


def _hindi(word: str) -> set[str]:
    """The forms of a word in the oblique case and in the plural."""
    if word.endswith("\u093e"):  # -a: -e
        return {word[:-1] + "\u0947", word[:-1] + "\u094b\u0902"}
    return {word + "\u094b\u0902", word + "\u0947\u0902"}
