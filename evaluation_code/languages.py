# ruff: noqa: RUF001
"""Which language a text in Latin letters is in, by its most common words and endings.

Only so much is asked of it: whether endings attach to words (Turkish, Finnish, Hungarian), and how numbers are written.
"""

import re
from functools import lru_cache

_COMMON = {
    "en": "a the is are was were of and to in it for with you your at by from that this has have can will not there "
    "after before we our they its as or if do does an on",
    "de": "der die das ist sind war ein eine einen einem und mit von zu im am für sie nicht auf bei nach wird werden "
    "hat haben kann können es den dem des wir ihr dann beträgt kostet innerhalb uhr ja nein lang gibt in",
    "fr": "le la les est sont un une des et du de à pour avec vous nous dans sur il elle que qui ce cette par au aux "
    "en votre notre ne pas oui non se a été",
    "es": "el la los las es son un una y de del en para con usted su se que por al está hay cuesta tiene nuestro "
    "nuestra no sí lo dura días año años",
    "it": "il lo gli è sono un una e di del della per con che si nel nella alla non da ha",
    "pt": "o os as é são um uma e do da em para com que não no na ao dos das tem seu sua",
    "nl": "de het een is zijn en van op met voor niet u wij kan wordt bij naar binnen er",
    "tr": "bir ve bu için ile de da olarak var yok evet hayir içinde sonra önce kadar her gibi çok daha siz biz bizim "
    "merkezimiz süresi garanti olur eder gerekir değil değiştirin yaklaşik gün yil ay saat "
    "iki üç dört beş hafta gelir alir verir gider bulunur çalişir kapali açik renk tanesi adet ise",
    "fi": "ja ei se kuin että niin tai mutta kun voi voit ovat oli jos myös kyllä sitä sen meillä teillä noin "
    "vuotta vuoden kuukautta päivää minuuttia takuu kestää maksaa kuluessa jälkeen pitää mukaan joka sitten vain "
    "on kaksi kolme neljä viisi valo laite paina vaihda se tämä hän meidän sijaitsee lähtee tulee",
    "hu": "a az és egy nem is hogy van volt kell lehet vagy meg igen csak már még ez ezt után előtt között belül "
    "ön önnek mi nap év óra perc hónap évente naponta körülbelül kb alatt mellett "
    "garancia két három négy öt vissza bele ki fel tart szól kerül látható található működik tegye tegyen nyomja szín",
}
_ENDINGS = {
    "tr": re.compile(
        r"\w{2,}(?:[iuü]yor(?:uz)?|[ae]?bilir|ilir|[dt][iuü]r|m[ae]k|iniz|n[uü]z|lari|leri|[iuü]nur|[iuü]nd[ae]|s[iuü]nd[ae]|[dt][ae]ki)"
    ),
    "fi": re.compile(
        r"\w{2,}(?:ss[aä]|st[aä]|l[lt][aä]|lle|nen|ksi|aan|iin|uun|ään|öön|mme|v[aä]t|tt[aä]|[iv][aä]n[aä]|sen[aä]|isin)"
    ),
    "hu": re.compile(
        r"\w{2,}(?:n[ae]k|b[ae]n|[brt][óő]l|h[oeö]z|[uü]nk|j[uü]k|s[áé]g|h[ae]t[óő]?|h[ae]tó|at[óó]|hető|ható|lj[ae])"
    ),
}
_LETTERS = {
    "tr": re.compile(r"[ğş]"),
    "fi": re.compile(r"ää|öö|yö|äy|yy"),
    "hu": re.compile(r"[őű]|sz|zs|gy[áeéi]"),
    "de": re.compile(r"ß"),
    "es": re.compile(r"[ñ¿¡]"),
    "fr": re.compile(r"[œêèû]|\b(?:qu|[ldjcns])['\u2019]"),
}
_WORDS: dict[str, frozenset[str]] = {name: frozenset(words.split()) for name, words in _COMMON.items()}
DOT_THOUSANDS = frozenset({"de", "es", "it", "pt", "nl", "tr"})
SPACE_THOUSANDS = frozenset({"fr", "fi", "hu", "es", "cyrillic"})
_MOST = 400  # characters that are looked at; more would not change the result
_CYRILLIC = re.compile("[\u0400-\u04ff]{2}")


@lru_cache(maxsize=4096)
def language_of(text: str) -> str:
    """The ISO 639 code of one of ten languages, "cyrillic", or "" without evidence, for a casefolded text."""
    text = text[:_MOST]
    if _CYRILLIC.search(text):
        return "cyrillic"
    words = re.findall(r"[^\W\d_]+", text.replace("ı", "i"))
    scores = {name: sum(word in common for word in words) for name, common in _WORDS.items()}
    for name, endings in _ENDINGS.items():
        scores[name] += sum(bool(endings.fullmatch(word)) for word in words)
    for name, letters in _LETTERS.items():
        scores[name] += 2 * len(letters.findall(text))
    best = max(scores, key=lambda name: scores[name])  # of equals the first, English before all
    return best if scores[best] else ""
