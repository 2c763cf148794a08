"""Korean words with the particles, endings and spaces that attach to them.

Particles that depend on a final consonant are checked for it; after one syllable fewer are allowed, because sa-go and
na-ra are words of their own.
"""

import re

_CASES = (
    "에서부터|에서|에게서|에게|에|께서|께|한테|까지|부터|으로서|로서|으로써|로써|으로|로|보다|처럼|만큼|같이|하고|과|와|이랑|랑|의|마저|"
    "조차|밖에|뿐|대로|마다|씩"
)
_TOPICS = "은|는|이|가|을|를|도|만|요"
_COPULAS = (
    "입니다|입니까|이에요|이예요|예요|에요|이다|이죠|이지요|이고요|이고|이며|이면|이라면|이지만|이니까|이니|이므로|이라서|이라고|이라는|이란|이라|"
    "이었습니다|였습니다|이었어요|였어요|이었고|였고|이십니다|이랍니다|랍니다|이래요|이네요|네요|인데요|인데|이거든요|거든요|이나|이라도|라도|"
    "이야|라고|라는|라서|라면|지만|니까|므로|이든|이겠습니다|이어서|여서"
)
_SHORT_COPULAS = "다|고|며|면|죠|나|란|라|야|니"
_VERBS = "합니다|해요|하다|하고|하며|하면|하는|하여|해서|했습니다|하세요|하십시오|됩니다|되어|되는|돼요|되며"
_MEASURES = "간|동안|정도|쯤|가량|마다|씩|짜리|내외|째"
_KOREAN_ONE = re.compile(rf"(?:{_CASES})?(?:만|도)?(?:{_TOPICS}|{_COPULAS})?")
_KOREAN = re.compile(
    rf"(?:들|님|씨|광역시|특별시|특별자치시|특별자치도)?(?:{_CASES})?(?:{_CASES})?(?:만|도)?(?:{_TOPICS}|{_COPULAS}|{_SHORT_COPULAS})?|(?:{_VERBS})"
)
_KOREAN_UNIT = re.compile(
    rf"(?:{_MEASURES})?(?:{_CASES})?(?:만|도)?(?:{_TOPICS}|{_COPULAS}|{_SHORT_COPULAS}|인|일|임|이내|이상)?"
)
_AFTER_CONSONANT = re.compile(r"은|을|과|이(?!내|상)|으로|으")
_AFTER_VOWEL = re.compile(
    rf"는|가$|를|와|예요|였|랑|로|(?:{_SHORT_COPULAS}|라고|라는|라서|라면|라도|랍니다|네요|지만)$"
)


def is_korean_form(token: str, word: str, *, after_number: bool) -> bool:
    """Whether `token` is `word` with particles, a copula or, after a number, a word of measure."""
    if not token.startswith(word):
        return False
    rest = token[len(word) :]
    form = _KOREAN_UNIT if after_number else _KOREAN if len(word) > 1 else _KOREAN_ONE
    if not form.fullmatch(rest):
        return False
    final = (ord(word[-1]) - 0xAC00) % 28  # the number of the final consonant, 0 for none, 8 for l
    if final == 0:
        return not (_AFTER_CONSONANT.match(rest) and not rest.startswith(("이에요", "이예요", "이다")))
    return not _AFTER_VOWEL.match(rest) or (final == 8 and rest.startswith("로"))


def end_of_respaced(tokens: list[str], start: int, words: list[str]) -> int | None:
    """The position after the tokens from `start` that are Korean words with other spaces between them, or None.

    Korean is often written with more or fewer spaces than its rules ask for.
    """
    answer = "".join(words)
    if len(answer) < 3 or not all("\uac00" <= letter <= "\ud7a3" for letter in answer):
        return None
    joined = ""
    for place in range(start, min(len(tokens), start + len(words) + 2)):
        joined += tokens[place]
        if len(joined) >= len(answer):
            fits = joined == answer or is_korean_form(joined, answer, after_number=False)
            return place + 1 if fits else None
    return None
