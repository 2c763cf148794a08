"""Finds secrets by their format: keys, tokens, passwords and private keys that are pasted into chats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple


class Finding(NamedTuple):
    """A span of text that must not be published; its mask is `<ENTITY>`."""

    start: int
    end: int
    entity: str


class _Form(NamedTuple):
    entity: str
    hints: tuple[str, ...]  # lower-case text that every match contains; searching for it first is much cheaper
    pattern: re.Pattern[str]  # the group "secret" is masked, or the whole match when there is no such group


_FORMS = (
    _Form("PRIVATE_KEY", ("private key",),
          re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----.*?"
                     r"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL)),
    _Form("AWS_ACCESS_KEY", ("akia", "asia", "abia", "acca"), re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b")),
    _Form("AWS_SECRET_KEY", ("secret",),
          re.compile(r"(?i:aws)?_?(?i:secret_?(?:access_?)?key)\W{1,6}(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])")),
    _Form("GITHUB_TOKEN", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
          re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})")),
    _Form("JSON_WEB_TOKEN", ("eyj",), re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")),
    _Form("AZURE_STORAGE_KEY", ("accountkey",),
          re.compile(r"(?i:AccountKey)\s*=\s*(?P<secret>[A-Za-z0-9+/]{40,}={0,2})")),
    _Form("AZURE_STORAGE_KEY", ("==",), re.compile(r"(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{86}==(?!=)")),
    _Form("AZURE_SAS_SIGNATURE", ("sig=",), re.compile(r"[?&;]sig=(?P<secret>[A-Za-z0-9%+/]{30,}={0,2})")),
    _Form("AZURE_CLIENT_SECRET", ("q~",), re.compile(r"(?<![\w~.-])[\w~.-]{3}\dQ~[\w~.-]{31,34}(?![\w~-])")),
    _Form("API_KEY", ("sk-", "sk_", "rk_", "pk_live"),
          re.compile(r"\b(?:sk-(?:proj-|ant-|or-|svcacct-)?(?=[\w-]{0,200}\d)[\w-]{20,}|[sr]k_(?:live|test)_[A-Za-z0-9]{16,})")),
    _Form("API_KEY", ("aiza",), re.compile(r"\bAIza[\w-]{35}")),
    _Form("API_KEY", ("hf_",), re.compile(r"\bhf_[A-Za-z0-9]{30,}\b")),
    _Form("API_KEY", ("glpat-", "npm_", "pypi-"),
          re.compile(r"\b(?:glpat-[\w-]{20,}|npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,})")),
    _Form("SLACK_TOKEN", ("xox",), re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}")),
    _Form("PASSWORD", ("://",), re.compile(r"(?<=://)[^\s:/@<>\"']{1,64}:(?P<secret>[^\s/@<>\"'{}$]{3,128})(?=@)")),
    _Form("BEARER_TOKEN", ("bearer",), re.compile(r"\b(?i:bearer)\s+(?P<secret>(?=[\w.~+/-]*\d)[\w.~+/-]{20,}=*)")),
)  # fmt: skip

_NAMED = re.compile(
    r"\b(?:[a-z]+[_-])?(?:password|passwd|pwd|passphrase|secret|api[_-]?key|access[_-]?key|account[_-]?key|"
    r"(?:access|auth|api|refresh)[_-]?token|client[_-]?secret)\b[\"']?\s*(?:[:=]|\bis\b:?)\s*"
    r"(?P<quote>[\"'`]?)(?P<secret>[^\s\"'`,;<>(){}\[\]]{6,128})(?P<after>.?)",
    re.IGNORECASE,
)
# Other languages, and words in other places: a value counts when it has letters and at least two digits.
_WORDS = (
    "password|passphrase|passwort|kennwort|mot de passe|contrase[ñn]a|clave|비밀번호|비번|암호|パスワード|暗証番号|"
    "密码|密碼|口令|पासवर्ड"
)
_BETWEEN = (
    r"[:\uff1a=\uff08(-]|(?:is|to|as|should be|on file|ist|lautet|auf|est|devient|en|es|a)(?![A-Za-z])|"
    "은|는|이|가|을|를|は|が|を|是|为|為|改成|改为|बदलकर"
)
_OUTSIDE = r"\s\"'`,;<>(){}\[\]\u0080-\U0010ffff"
_VALUE = rf"(?P<secret>[A-Za-z0-9!#$%&*+@^_~][^{_OUTSIDE}]{{4,126}}[^{_OUTSIDE}.?])"
_ELSEWHERE = (  # Without case, the letters beyond ASCII that a value excludes would include s and k.
    re.compile(rf"(?i:{_WORDS})(?:\s*(?i:{_BETWEEN}))*\s*[\"'`]?{_VALUE}"),
    re.compile(rf"(?<![^\s\"'`(]){_VALUE}[\"'`]?\s+(?:is|as)\s+(?:(?:my|the|our|your|a)\s+)?(?:new\s+)?(?i:{_WORDS})"),
)
_NO_PASSWORD = re.compile(
    r"(?:sha|md|base|utf|aes|oauth|ipv|win(?:dows)?|python|bcrypt|pbkdf|rc|http)-?\d+\W*", re.IGNORECASE
)
_NAMED_HINTS = (
    "passwort",
    "kennwort",
    "mot de passe",
    "contrase",
    "clave",
    "비밀번호",
    "비번",
    "암호",
    "パスワード",
    "暗証番号",
    "密码",
    "密碼",
    "口令",
    "पासवर्ड",
    "passw",
    "pwd",
    "passphrase",
    "secret",
    "key",
    "token",
)
_PLACEHOLDER = re.compile(
    r"your|example|placeholder|changeme|dummy|xxx|\*\*\*|\.\.\.|^\$|^%|"
    r"^(?:none|null|test|pass|passw(?:or)?d|pwd|secret\w*key)\W*$",
    re.IGNORECASE,
)
_ALL_HINTS = tuple(dict.fromkeys([hint for _, hints, _ in _FORMS for hint in hints] + [*_NAMED_HINTS]))


def find_secrets(text: str) -> Iterator[Finding]:
    """Secrets in the text, in no particular order; they may overlap."""
    lowered = text.lower()
    for hint in _ALL_HINTS:
        if hint in lowered:
            break
    else:
        return
    for entity, hints, pattern in _FORMS:
        if _has_any(lowered, hints):
            for match in pattern.finditer(text):
                group = "secret" if "secret" in pattern.groupindex else 0
                if entity == "PASSWORD" and _PLACEHOLDER.search(match[group]):
                    continue
                yield Finding(match.start(group), match.end(group), entity)
    if _has_any(lowered, _NAMED_HINTS):
        for match in _NAMED.finditer(text):
            if _is_literal(match):
                yield Finding(match.start("secret"), match.end("secret"), "PASSWORD")
        for pattern in _ELSEWHERE:
            for match in pattern.finditer(text):
                if _is_password(match["secret"]):
                    yield Finding(match.start("secret"), match.end("secret"), "PASSWORD")


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    for word in words:  # noqa: SIM110 - a generator in any() takes three times as long, and this runs for every turn
        if word in text:
            return True
    return False


def _is_password(value: str) -> bool:
    """Whether it has letters and two digits, and is no name of an algorithm, path, call, variable or placeholder."""
    if (
        _PLACEHOLDER.search(value)
        or _NO_PASSWORD.fullmatch(value)
        or re.search(r"[/\\]|\w\.[a-z]|://|^[\d.:-]+$", value)
    ):
        return False
    return any(map(str.isalpha, value)) and sum(map(str.isdigit, value)) > 1


def _is_literal(match: re.Match[str]) -> bool:
    """Whether the value after `password =` is a password, not a word, a call, a variable or a placeholder."""
    value = match["secret"]
    if _PLACEHOLDER.search(value):
        return False
    has_letter, has_digit = any(map(str.isalpha, value)), any(map(str.isdigit, value))
    if match["quote"]:
        return match["after"] == match["quote"] and (has_digit or not value.isalpha())
    looks_like_code = match["after"] in ("(", "[", "{") or re.fullmatch(r"[A-Za-z_]\w*(?:\.\w+)+\.?", value)
    return has_letter and has_digit and not looks_like_code
