"""Texts that a user, a client or a model may choose, and that a terminal or a markup language would obey."""

import unicodedata

JOINERS = "\u200c\u200d"
# Of category Cf, but visible.
SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
LONG = 10_000

HOSTILE = {
    "closing tag": "[/INST] [/]",
    "markup": "[bold]x[/bold] [link=https://evil.example]y[/link] :smile: [@click=app.bell]z[/]",
    "backslashes before brackets": "\\[red] \\\\[red] [red\\] \\",
    "colours and cursor": "\x1b[31mred\x1b[0m \x1b[2J\x1b[H\x1b[1A\x1b[2K",
    "OSC 8 link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x07",
    "OSC title and clipboard": "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07",
    "escape at the end": "half \x1b",
    "C1 controls": "\x9b31m \x9d0;title\x9c \x85 \x90q\x9c",
    "bidirectional overrides": "abc\u202edef\u202c \u2066g\u2069 \u200f\u061c",
    "line breaks": "a\r\nb\rc\nd\n\ne\x0bf\x0cg\u2028h\u2029i",
    "tabs": "a\tb\t\tc",
    "NUL, bell, backspace, delete": "\x00\x07\x08\x08\x7f",
    "lone surrogates": "\ud83d x \udc00",
    "wide and combining": "日本語のテキスト 👨‍👩‍👧 🇩🇪 e\u0301 किताब می‌خواهم",
    "zero width": "a\u200bb\ufeffc\u2060d\u00ade\U000e0041 \u200d",
    "only invisible": "\u200b\u200d\x1b",
    "nothing": "",
    "spaces": "   ",
    "one long word": "x" * LONG,
    "many words": "word " * (LONG // 5),
    "long without spaces": "日" * LONG,
    "long marks": "e" + "\u0301" * LONG,
    "long escapes": "\x1b[31m" * (LONG // 5),
    "many lines": "line\n" * (LONG // 5),
}


def dangerous(text: str) -> str:
    """Return the characters of a text that a terminal obeys or hides; a line break is none, nor a joiner in a word."""
    return "".join(
        each
        for each in text
        if each not in f"\n{JOINERS}{SIGNS}" and unicodedata.category(each) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    )
