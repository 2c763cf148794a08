"""Whether a text denies what it names: "not 14 days", "부산이 아니라", "東京ではなく". Closed lists of neighbours."""

import re

_BEFORE = {
    1: {"not", "isnt", "arent", "wasnt", "nicht", "kein", "keine", "keinen", "keiner", "pas", "не", "ليس", "ليست"},
    2: {"no es", "no son", "no está", "no fue", "non è", "não é", "ei ole", "eivät ole", "not in", "not at", "not the",
        "nicht in", "nicht im", "nicht am", "pas à", "pas de", "не в", "не на", "ليس في", "ليست في"},
}  # fmt: skip
_AFTER = re.compile(r"(?:değil\w*|नहीं|아니\w*|아닙\w*|아닌\w*)")
_UNSPACED_BEFORE = re.compile("(?:不是|不在|并非|並非|不叫|ไม่ใช่|ไม่)$")
_UNSPACED_AFTER = re.compile("(?:で|じゃ|に)は?(?:な[いくか]|あり?ませ)|では?な|じゃな|ではあり|じゃあり")


def is_denied(tokens: list[str], start: int, end: int) -> bool:
    """Whether the words before or after the tokens from `start` to `end` deny them."""
    for count, words in _BEFORE.items():
        if start >= count and " ".join(tokens[start - count : start]) in words:
            return True
    return end < len(tokens) and bool(_AFTER.fullmatch(tokens[end]))


def is_denied_inside(before: str, after: str) -> bool:
    """The same for a script without spaces: `before` and `after` are the rest of the run of text."""
    return bool(_UNSPACED_BEFORE.search(before) or _UNSPACED_AFTER.match(after))
