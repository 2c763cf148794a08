"""Says from the first bytes of a file what it is, before any row of it is read."""

from __future__ import annotations

import codecs
import re

from phi_assets.conversations.formats.code_pages import code_page

HEAD_BYTES = 1 << 20
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PARQUET, ENCRYPTED_PARQUET = b"PAR1", b"PARE"
ARROW_FILE, ARROW_STREAM = b"ARROW1", b"\xff\xff\xff\xff"

_POINTERS = (
    (
        b"version https://git-lfs.github.com/spec",
        "a pointer of Git LFS, not the data; run `git lfs pull` where it lies",
    ),
    (b"/annex/objects/", "a pointer of git-annex, not the data; run `git annex get` where it lies"),
)
_OTHERS = (
    (ENCRYPTED_PARQUET, "encrypted Parquet; write it again without encryption"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save its sheet as CSV in UTF-8"),
    (b"BZh", "compressed with bzip2; unpack it, or compress it with gzip or Zstandard"),
    (b"\xfd7zXZ\x00", "compressed with xz; unpack it, or compress it with gzip or Zstandard"),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it"),
    (b"SQLite format 3\x00", "a SQLite database; export its rows as JSON Lines or CSV"),
    (b"Obj\x01", "Avro; write its rows as Parquet or JSON Lines"),
    (b"ORC", "ORC; write its rows as Parquet or JSON Lines"),
    (b"%PDF-", "a PDF document; extract its conversations as JSON Lines"),
    (b"\x80\x04\x95", "a Python pickle, which could run code; write its rows as JSON Lines"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
_WEB_PAGE = re.compile(rb"\s*(?:<!doctype html|<html)\b", re.IGNORECASE)
_FEWEST_LINES = 3
"""Lines that must be of another encoding, and none of UTF-8, for the file to be: fewer may just be broken."""
_LOOKED_AT = 1 << 16
"""Bytes from which a code page is told."""


def trouble(name: str, head: bytes) -> str:
    """What a file is that cannot be read, and the remedy; empty for one that seems readable.

    `head` holds the first bytes, of a compressed file those of its content. Parquet, Arrow, gzip and Zstandard are
    readable.
    """
    if head.startswith((PARQUET, ARROW_FILE, GZIP, ZSTANDARD)):
        return ""
    for start, what in (*_POINTERS, *_OTHERS):
        if head.startswith(start):
            return f"it is {what}"
    if _WEB_PAGE.match(head):
        return "it is a web page, not data: the download was refused, or needs a sign-in; download it again"
    return "" if _is_arrow_stream(head) else _encoding_trouble(name, head)


def _is_arrow_stream(head: bytes) -> bool:
    return head.startswith(ARROW_STREAM)


def _encoding_trouble(name: str, head: bytes) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return _other_encoding(name, encoding, encoding)
    even, odd = head[0:4096:2], head[1:4096:2]
    if len(odd) > 8 and max(even.count(0), odd.count(0)) > 0.4 * len(odd):
        encoding = "UTF-16LE" if odd.count(0) > even.count(0) else "UTF-16BE"
        return _other_encoding(name, encoding, encoding)
    lines = [line for line in head.split(b"\n")[:-1] or [head] if not line.isascii()]
    wrong = [line for line in lines if not _is_utf8(line)]
    if len(wrong) < len(lines) or len(wrong) < _FEWEST_LINES:
        return ""
    if page := code_page(b"\n".join(wrong)[:_LOOKED_AT]):
        return _other_encoding(name, page, f"in the code page {page}")
    return ""


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _other_encoding(name: str, encoding: str, what: str) -> str:
    return f"it is {what}, not UTF-8; convert it: `iconv -f {encoding} -t UTF-8 {name} > utf8-{name.split('/')[-1]}`"
