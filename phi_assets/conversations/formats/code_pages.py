"""Names the code page of a text that is not UTF-8, so that it can be converted without changing its letters."""

from __future__ import annotations

import unicodedata

_WESTERN = {
    "Danish": "æøåé",
    "Dutch": "áéëïóöüè",
    "Finnish": "äöå",
    "French": "àâæçéèêëîïôœùûüÿ",
    "German": "äöüß",
    "Icelandic": "áéíóúýþæöð",
    "Italian": "àèéìòóù",
    "Portuguese": "áâãàçéêíóôõúü",
    "Spanish": "áéíñóúü¿¡",
    "Swedish": "åäöé",
}
_CENTRAL = {
    "Croatian": "čćđšž",
    "Czech": "áčďéěíňóřšťúůýž",
    "Hungarian": "áéíóöőúüű",
    "Polish": "ąćęłńóśźż",
    "Romanian": "ăâîşţ",
    "Slovak": "áäčďéíĺľňóôŕšťúýž",
}
_TURKISH = {"Turkish": "çğıİöşüâîû"}
_LATIN = {
    "cp1252": _WESTERN,
    "cp1250": _CENTRAL,
    "cp1254": _TURKISH,
    "iso8859_2": _CENTRAL,
    "mac_roman": _WESTERN,
    "cp850": _WESTERN,
}
"""Code pages of the Latin script, the more common ones first, with the letters of their languages beyond ASCII."""
_EVERYWHERE = ("SPACE", "DASH", "QUOTATION MARK", "BULLET", "ELLIPSIS", "EURO SIGN", "DEGREE SIGN")
"""Ends of the names of characters that say nothing about the language."""


def code_page(text: bytes) -> str:
    """The most likely code page of a text, as a name that Python and iconv know; empty when none is likely."""
    from charset_normalizer import from_bytes

    best = from_bytes(text).best()
    if not best or best.encoding.startswith(("utf", "ascii")):
        return ""
    if not _is_latin(str(best)):
        return best.encoding
    # Its pages share most bytes, so that a guess by frequency takes è for č: the letters that a language has decide.
    coverage = {page: _coverage(text, page) for page in _LATIN}
    likely = [page for page in _LATIN if coverage[page] == max(coverage.values())]
    differ = len({text.decode(page, "replace") for page in likely}) > 1
    return best.encoding if differ and best.encoding in likely else likely[0]


def _is_latin(text: str) -> bool:
    letters = [each for each in text if each.isalpha() and not each.isascii()]
    return all(unicodedata.name(each, "").startswith("LATIN") for each in letters)


def _coverage(text: bytes, page: str) -> float:
    """The share of the characters beyond ASCII that the best fitting language of a code page has."""
    try:
        decoded = text.decode(page)
    except UnicodeDecodeError:
        return 0.0
    beyond = [each for each in decoded.lower() if not each.isascii() and not _is_everywhere(each)]
    return max(sum(each in letters for each in beyond) for letters in _LATIN[page].values()) / max(len(beyond), 1)


def _is_everywhere(character: str) -> bool:
    return unicodedata.name(character, "").endswith(_EVERYWHERE)
