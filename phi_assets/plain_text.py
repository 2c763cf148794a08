r"""Shows what a text hides: control codes, bidirectional overrides, lone surrogates, other invisible characters.

Every medium that shows texts of users and models starts here: terminal, Markdown, notifications, logs.
"""

import unicodedata

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode categories: controls, formats, surrogates, separators of lines
VISIBLE_FORMATS = frozenset(  # Unicode's Prepended_Concatenation_Mark: signs of Arabic, Syriac and Kaithi
    "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
)
JOINERS = "\u200c\u200d"  # spell words of Persian and Hindi, and join emoji
TAB = 4


def plain_text(text: str, *, lines: bool = False) -> str:
    r"""Return the text with each invisible character as an escape such as `\x1b` or `\u202e`.

    Line breaks and tabs become spaces; with `lines`, lines stay and tabs become spaces up to the next stop.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.expandtabs(TAB) if lines else text.replace("\n", " ").replace("\t", " ")
    return "".join(
        each if each == "\n" or not is_invisible(each) or _joins(text, at) else _escaped(each)
        for at, each in enumerate(text)
    )


def is_invisible(each: str) -> bool:
    """Return whether the character shows nothing, or changes how others are shown."""
    if each.isascii():
        return each < " " or each == "\x7f"
    return unicodedata.category(each) in INVISIBLE and each not in VISIBLE_FORMATS


def _joins(text: str, at: int) -> bool:
    """Return whether the character is a joiner between two characters that are visible and not ASCII."""
    around = text[at - 1 : at] + text[at + 1 : at + 2]
    return text[at] in JOINERS and len(around) == 2 and not any(each.isascii() or is_invisible(each) for each in around)


def _escaped(each: str) -> str:
    return each.encode("unicode_escape").decode("ascii")
