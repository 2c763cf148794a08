"""The kinds of personal data that are found: their form, the words that name them, and what is checked."""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from phi_assets.conversations import check_digits
from phi_assets.conversations import personal_context as context

REGIONS = ("US", "UK", "DE", "FR", "ES", "KR", "CN", "JP", "IN")


class Kind(NamedTuple):
    """A kind with a form of its own. A value counts after a word for it, or alone when it passes `alone`."""

    entity: str
    region: str  # "" for all
    form: re.Pattern[str]
    words: context.Words
    alone: Callable[[str], bool]


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9])(?<!\d[.,])(?:{pattern})(?![A-Za-z0-9]|[.,-]\d)")


def _presidio(name: str, least: float = 1.0) -> Callable[[str], bool]:
    """A check by one of Presidio's recognisers, called alone, so that no language model is loaded."""

    def check(value: str) -> bool:
        recogniser = _recognisers()[name]
        return any(
            result.score >= least and result.end - result.start == len(value)
            for result in recogniser.analyze(value, recogniser.supported_entities)
        )

    return check


def _never(value: str) -> bool:
    return False


def _always(value: str) -> bool:
    return True


def _is_aadhaar(value: str) -> bool:
    return len(value) == 14 and _presidio("InAadhaarRecognizer")(value.replace(" ", "-"))


def _is_registration(value: str) -> bool:
    """A Korean resident's number in its usual form; numbers since October 2020 have no check digit."""
    return value[6] == "-" or _presidio("KrRrnRecognizer")(value) or _presidio("KrFrnRecognizer")(value)


KINDS = (
    Kind("PASSPORT", "", _form(r"(?=(?:[A-Z]*\d){2})[A-Z0-9]{8,9}"), context.PASSPORT, _never),
    Kind("BANK_ACCOUNT", "", _form(r"\d(?:[ -]?\d){6,19}"), context.ACCOUNT, _never),
    Kind("US_SSN", "US", _form(r"\d{3}([- .]?)\d{2}\1\d{4}"), context.SSN,
         lambda value: value[3] == "-" and _presidio("UsSsnRecognizer", 0.05)(value)),
    Kind("US_ITIN", "US", _form(r"9\d\d([- ]?)\d{2}\1\d{4}"), context.ITIN, _presidio("UsItinRecognizer", 0.5)),
    Kind("UK_NINO", "UK", _form(r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]"), context.NINO,
         _presidio("UkNinoRecognizer", 0.5)),
    Kind("UK_NHS", "UK", _form(r"\d{3}([ -]?)\d{3}\1\d{4}"), context.NHS, _never),
    Kind("DE_TAX_ID", "DE", _form(r"[1-9]\d(?: ?\d{3}){3}"), context.TAX_ID, _never),
    Kind("DE_SOCIAL_SECURITY", "DE", _form(r"\d{2} ?\d{6} ?[A-Z] ?\d{3}"), context.PENSION,
         _presidio("DeSocialSecurityRecognizer")),
    Kind("FR_NIR", "FR", _form(r"[12] ?\d{2} ?[0-9]{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"), context.NIR,
         check_digits.is_french_nir),
    Kind("ES_NIF", "ES", _form(r"\d{7,8}-?[A-Z]"), context.DNI, _presidio("EsNifRecognizer")),
    Kind("ES_NIE", "ES", _form(r"[XYZ]-?\d{7}-?[A-Z]"), context.NIE, _presidio("EsNieRecognizer")),
    Kind("KR_RRN", "KR", _form(r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-?[0-9]\d{6}"), context.RRN,
         _is_registration),
    Kind("KR_BRN", "KR", _form(r"\d{3}-?\d{2}-?\d{5}"), context.BRN,
         lambda value: value[3] == "-" and _presidio("KrBrnRecognizer")(value)),
    Kind("KR_DRIVER_LICENSE", "KR", _form(r"(?:1[1-9]|2[0-8])-?\d{2}-?\d{6}-?\d{2}"), context.LICENSE,
         lambda value: value[2] == "-" and _presidio("KrDriverLicenseRecognizer", 0.05)(value)),
    Kind("CN_RESIDENT_ID", "CN", _form(r"[1-9]\d{16}[0-9Xx]"), context.RESIDENT, check_digits.is_chinese_resident_id),
    Kind("JP_MY_NUMBER", "JP", _form(r"\d{4}([- ]?)\d{4}\1\d{4}"), context.MY_NUMBER, _never),
    Kind("IN_AADHAAR", "IN", _form(r"[2-9]\d{3}([- ]?)\d{4}\1\d{4}"), context.AADHAAR, _is_aadhaar),
    Kind("IN_PAN", "IN", _form(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]"), context.PAN, _always),
    Kind("CREDIT_CARD", "", _form(r"[1-6](?:[ -]?\d){12,18}"), context.CARD, _presidio("CreditCardRecognizer")),
)  # fmt: skip
# These start with a character class, not with a look-behind: only then can `re` skip quickly to a possible start.
_RUN = re.compile(r"[A-Z0-9](?:[ .-]?[A-Z0-9]){6,}")
_ADDRESS = re.compile(
    r"\d(?<![A-Za-z0-9_]\d)\d{0,2}(?:\.\d{1,3}){3}|[23](?<![A-Za-z0-9_][23])[0-9A-Fa-f]{3}:[0-9A-Fa-f:]*:[0-9A-Fa-f]*"
)
_IBAN = re.compile(r"[A-Z](?:(?<![A-Za-z0-9_][A-Z])|(?<=IBAN[A-Z]))[A-Z]\d{2}(?:[ -]?[A-Z0-9]{4}){2}[A-Z0-9 -]*")
_WALLET = re.compile(r"[b13](?<![A-Za-z0-9_][b13])[A-Za-z0-9]{25,}")
_NEAR = 60  # characters around a sign of an address, a number or a wallet that a recogniser is given


class Found(NamedTuple):
    """A value of a kind; `named` when a word for it stands beside it."""

    start: int
    end: int
    entity: str
    named: bool


def numbers(folded: str, spaced: str, kinds: tuple[Kind, ...]) -> Iterator[Found]:
    """Values of the kinds with a form of their own; after a word such as "order" none counts."""
    for run in _RUN.finditer(spaced):
        if sum(map(str.isdigit, run[0])) > 1:
            for kind in kinds:
                # Up to what a form asks of its right neighbours.
                for match in kind.form.finditer(spaced, run.start(), run.end() + 3):
                    found = _judged(kind, match[0], *match.span(), folded, spaced)
                    if found:
                        yield found


def _judged(kind: Kind, value: str, start: int, end: int, folded: str, spaced: str) -> Found | None:
    own = context.position(kind.words, folded, start)
    named = own >= 0 or bool(kind.words.after.match(folded, end))
    if not named and (kind.alone is _never or _goes_on(spaced, start, end) or not kind.alone(value)):
        return None
    return None if context.is_other(folded, start, own) else Found(start, end, kind.entity, named)


def _goes_on(spaced: str, start: int, end: int) -> bool:
    """Whether the number is one group of a longer one."""
    separator = "[ -]" if " " in spaced[start:end] else "-"
    before, after = spaced[max(0, start - 2) : start], spaced[end : end + 2]
    return bool(re.fullmatch(rf"\d{separator}", before) or re.fullmatch(rf"{separator}\d", after))


def addresses(folded: str, spaced: str) -> Iterator[Found]:
    """E-mail and public IP addresses, IBANs and wallets, by Presidio's recognisers."""
    at = spaced.find("@")
    while at >= 0:
        yield from _analysed("EmailRecognizer", "EMAIL_ADDRESS", folded, spaced, at, at + 1)
        at = spaced.find("@", at + 1)
    for pattern, name, entity in (
        (_IBAN, "IbanRecognizer", "IBAN_CODE"),
        (_WALLET, "CryptoRecognizer", "CRYPTO"),
        (_ADDRESS, "IpRecognizer", "IP_ADDRESS"),
    ):
        for match in pattern.finditer(spaced):
            yield from _analysed(name, entity, folded, spaced, *match.span())


def _analysed(name: str, entity: str, folded: str, spaced: str, start: int, end: int) -> Iterator[Found]:
    begin = max(spaced.rfind(" ", 0, max(0, start - _NEAR)) + 1, start - 1_000, 0)
    if spaced.endswith("IBAN", begin, start):
        begin = start
    space = spaced.find(" ", end + _NEAR)
    finish = min(space if space >= 0 else len(spaced), end + 1_000)
    for result in _recognisers()[name].analyze(spaced[begin:finish], [entity]):
        span = begin + result.start, begin + result.end
        least = 0.5 if entity == "IP_ADDRESS" else 0.9
        if result.score >= least and (entity != "IP_ADDRESS" or _is_public_address(folded, *span)):
            yield Found(*span, entity, False)


def _is_public_address(text: str, start: int, end: int) -> bool:
    """Whether the address is public: loopback, private and documentation addresses and version numbers are not."""
    if context.VERSIONS.search(text[max(0, start - context.REACH) : start]) or re.match(r"\.\d", text[end : end + 2]):
        return False
    try:
        address = ipaddress.ip_interface(text[start:end]).ip
    except ValueError:
        return False
    # Only 2000::/3 is allocated in IPv6; shorter forms such as ab::cd are mostly code.
    return address.is_global and not address.is_multicast and (address.version == 4 or int(address) >> 125 == 1)


@contextmanager
def _as_if_missing(*names: str) -> Iterator[None]:
    """Let imports inside fail for those of the packages that are not imported yet."""
    modules: dict[str, Any] = sys.modules
    absent = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]


@cache
def _recognisers() -> Mapping[str, Any]:
    import tldextract

    # Presidio imports both when it can, for models that are not used here: 6 seconds and 300 MB.
    with _as_if_missing("torch", "transformers"):
        from presidio_analyzer import predefined_recognizers as presidio

    # Without URLs to fetch, tldextract uses its bundled list of domains.
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

    class OfflineEmailRecognizer(presidio.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(extract(pattern_text.rpartition("@")[2]).fqdn)

    names = ("Iban", "CreditCard", "Crypto", "Ip", "UsSsn", "UsItin", "UkNino", "DeSocialSecurity", "EsNif", "EsNie",
             "KrRrn", "KrFrn", "KrBrn", "KrDriverLicense", "InAadhaar")  # fmt: skip
    made = {f"{name}Recognizer": getattr(presidio, f"{name}Recognizer")() for name in names}
    return {**made, "EmailRecognizer": OfflineEmailRecognizer()}


@cache
def kinds_of(regions: tuple[str, ...]) -> tuple[Kind, ...]:
    """The kinds with a form of their own that exist everywhere or in these regions."""
    return tuple(kind for kind in KINDS if not kind.region or kind.region in regions)
