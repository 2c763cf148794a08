"""Endings of Turkish, Finnish and Hungarian, and the plurals of units in five other languages.

Turkish is compared with i for both of its letters i, as `normalise` writes it.
"""

import re
from functools import lru_cache


def is_latin_form(token: str, word: str, language: str, *, last: bool, after_number: bool) -> bool:
    """Whether `token` is `word` with endings of the language; Finnish has them on every word of a phrase."""
    if after_number and _is_plural(token, word, language):
        return True
    if language == "fi":
        return any(_has_ending(token, stem, _FINNISH) for stem in _finnish(word))
    if language == "hu":
        return last and any(
            _has_ending(token, stem, _HUNGARIAN) or token in (stem + stem[-1] + "al", stem + stem[-1] + "el")
            for stem in _hungarian(word)
        )
    if language == "tr":
        return last and any(_has_ending(token, stem, _TURKISH) for stem in _turkish(word))
    # A reply of a word or two shows no language: then long endings of long words count.
    return last and not language and len(word) > 3 and _has_ending(token, word, _LONG)


def _has_ending(token: str, stem: str, endings: re.Pattern[str]) -> bool:
    return len(stem) > 1 and token.startswith(stem) and bool(endings.fullmatch(token, len(stem)))


_PLURALS = {"en": ("s", "es"), "de": ("e", "en", "n", "er", "s"), "fr": ("s",), "es": ("s", "es"), "pt": ("s", "es")}


def _is_plural(token: str, word: str, language: str) -> bool:
    """Whether one is the other with an ending of number: 14 day and 14 days, 14 Tage and 14 Tagen."""
    short, long = sorted((token, word), key=len)
    return len(short) > 2 and long in {short + ending for ending in _PLURALS.get(language, ())}


# Finnish: number and case, a possessive ending, a clitic.
_FINNISH = re.compile(
    r"(?:n|t|a|ä|ta|tä|tta|ttä|ssa|ssä|sta|stä|h?[aeiouyäö]n|seen|lla|llä|lta|ltä|lle|ksi|na|nä|tta|ttä|i?den|i?tten|ten|"
    r"[ij]en|[ij]a|[ij]ä|i?ssa|i?ssä|i?sta|i?stä|ihin|i?lla|i?llä|i?lta|i?ltä|i?lle|i?ksi|i?sin)?"
    r"(?:ni|si|nsa|nsä|mme|nne)?(?:kin|kaan|kään|han|hän|ko|kö|pa|pä)?"
)
_CHANGES = (("nen", ("se", "s")), ("si", ("de", "t")), ("as", ("aa",)), ("äs", ("ää",)), ("s", ("kse", "kso")),
            ("i", ("e",)), ("e", ("ee",)), ("in", ("ime",)))  # fmt: skip
_GRADES = (("kk", "k"), ("pp", "p"), ("tt", "t"), ("nk", "ng"), ("nt", "nn"), ("lt", "ll"), ("rt", "rr"), ("mp", "mm"),
           ("k", ""), ("p", "v"), ("t", "d"))  # fmt: skip


@lru_cache(maxsize=4096)
def _finnish(word: str) -> tuple[str, ...]:
    """The word's stems: itself, and with consonant gradation and the changes of -nen, -s, -i, -si and -e words."""
    stems = [word]
    for end, others in _CHANGES:
        if word.endswith(end) and len(word) - len(end) > 1:
            stems += [word[: -len(end)] + other for other in others]
    for stem in tuple(stems):
        head, end = stem[:-1], stem[-1]
        change = next(((strong, weak) for strong, weak in _GRADES if head.endswith(strong)), None)
        if end in "aeiouyäö" and change and len(head) - len(change[0]) > 1:
            stems.append(head.removesuffix(change[0]) + change[1] + end)
    return tuple(stems)


# Hungarian: plural or possessive, case; and the endings of adjectives such as napos, budapesti.
_HUNGARIAN = re.compile(
    r"(?:[aeoöáé]?k|j?[ae]|[eé]i|j?[ae]i)?"
    r"(?:[aeoöáé]?t|b[ae]n?|b[óő]l|[oeö]?n|r[ae]|r[óő]l|n[áé]l|h[oeö]z|t[óő]l|ig|kor|[ée]rt|n[ae]k|v[ae]l|v[áé]|k[ée]nt|"
    r"nyi|[oeöa]?s|i)?"
    r"|(?:[oeöa]s|i)(?:[aeoö]?k|[ae]t|b[ae]n|[ae]k)?"
)


def _hungarian(word: str) -> tuple[str, ...]:
    lengthened = {"a": "á", "e": "é"}.get(word[-1])
    return (word, word[:-1] + lengthened) if lengthened else (word,)


# Turkish, with i for dotless and dotted: number, possession, case, -ki, copula.
_TURKISH = re.compile(
    r"(?:l[ae]r)?(?:lik|luk|lük)?(?:[yns]?[iuü](?=n|y|$)|s[iuü])?"
    r"(?:n?[iuü]n|[yn]?[iuü]|[yn]?[ae]|n?[dt][ae]n?|y?l[ae]|c[ae])?(?:ki)?(?:[dt][iuü]r|y[dt][iuü]|ymiş)?"
)


def _turkish(word: str) -> tuple[str, ...]:
    softened = {"p": "b", "ç": "c", "t": "d", "k": "ğ"}.get(word[-1])
    return (word, word[:-1] + softened) if softened and len(word) > 2 else (word,)


_LONG = re.compile(
    r"ss[aä]|st[aä]|ll[aä]|lt[aä]|lle|ksi|b[ae]n|b[óő]l|r[óő]l|n[áé]l|h[oeö]z|t[óő]l|n[ae]k|[dt][ae]n|[dt][iuü]r|[dt][ae]d[iuü]r"
)
