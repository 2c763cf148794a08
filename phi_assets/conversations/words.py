"""What counts as a word when conversations are compared, in scripts with and without spaces between words."""

from __future__ import annotations

import re
import unicodedata

# Korean has spaces, but particles attach to its words: its syllables are compared, as the characters of the others are.
_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Japanese, Chinese
    "\u1100-\u11ff\uac00-\ud7af"  # Korean
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
)


def _marks() -> str:
    """A regular expression's character class of combining marks, such as the vowel signs of Hindi and Thai."""
    found: list[list[int]] = []
    for code in range(0x300, 0xABF0):
        if unicodedata.category(chr(code)).startswith("M"):
            if found and found[-1][1] == code - 1:
                found[-1][1] = code
            else:
                found.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in found)


_MARKS = _marks()
WORD = rf"[{_UNSPACED}][{_MARKS}]*|[^\W{_UNSPACED}]+(?:[{_MARKS}]+[^\W{_UNSPACED}]*)*"
"""A pattern of one word with its combining marks: a character of a script without spaces, or letters and digits."""
_TOKEN = re.compile(rf"{WORD}|[^\w\s]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def features(text: str, *, punctuation: bool) -> list[str]:
    """The words of a text as features of a classifier or a search; without spaces: characters and pairs of them.

    Two characters are about a word of Chinese or Japanese; one alone says little.
    """
    found, previous, end = list[str](), "", -1
    for match in _TOKEN.finditer(unicodedata.normalize("NFC", text).lower()):
        word = match[0]
        is_unspaced = bool(_IS_UNSPACED.match(word))
        if not is_unspaced and not word[0].isalnum() and word[0] != "_" and not punctuation:
            continue
        found.append(word)
        if is_unspaced and previous and end == match.start():
            found.append(previous + word)
        previous, end = (word if is_unspaced else ""), match.end()
    return found
