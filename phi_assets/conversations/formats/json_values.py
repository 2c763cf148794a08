"""Reads JSON arrays and concatenated objects as a stream, with the line on which each element starts.

Only the broken element is lost: reading continues at the next text that looks like the start of an element.
"""

from __future__ import annotations

import codecs
import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from phi_assets.conversations.formats.json_lines import EXCERPT_BYTES, excerpt, parse_object
from phi_assets.conversations.rows import Broken, Row

_BETWEEN = re.compile(r"(?:[\s,]+|\]\s*\[?)*")  # several arrays may follow each other
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")\s*:')
_CHUNK = 1 << 20


class _Window:
    """A sliding window of decoded text, with the line number of its position.

    Bytes that aren't UTF-8 become surrogate escapes, so that only the element that contains them is lost.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text = ""
        self.position = 0
        self.line = 1
        self.ended = False
        self.more(_CHUNK)

    def more(self, size: int) -> None:
        """Read `size` more bytes, and drop the text before the position."""
        raw = self._file.read(size)
        self.ended = not raw
        self.text = self.text[self.position :] + self._decoder.decode(raw, final=self.ended)
        self.position = 0

    def advance(self, to: int) -> None:
        self.line += self.text.count("\n", self.position, to)
        self.position = to

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Skip what the pattern matches at the position, of any length."""
        while match := pattern.match(self.text, self.position):
            self.advance(match.end())
            if self.position < len(self.text) or self.ended:
                return
            self.more(_CHUNK)


def read_json_values(file: BinaryIO, name: str, max_bytes: int) -> Iterator[Row | Broken]:
    """Rows of a JSON array, or of objects one after another; `max_bytes` limits the characters of one element."""
    window = _Window(file)
    window.advance(1 if window.text.startswith("\ufeff") else 0)
    window.skip(re.compile(r"\s*\[?"))
    first_keys = Counter[str]()
    while True:
        window.skip(_BETWEEN)
        if window.position == len(window.text):
            return
        line = window.line
        end = _end_of_element(window, max_bytes)
        if isinstance(end, str):
            text = window.text[window.position : window.position + EXCERPT_BYTES]
            yield Broken(name, line, end, excerpt(text.encode("utf-8", "surrogateescape")))
            _resume(window, first_keys)
            continue
        raw = window.text[window.position : end].encode("utf-8", "surrogateescape")
        window.advance(end)
        element = parse_object(raw, name, line)
        if isinstance(element, Row) and (key := _FIRST_KEY.match(raw.decode("utf-8"))):
            first_keys[key[1]] += 1
        yield element


def _end_of_element(window: _Window, max_characters: int) -> int | str:
    """The end of the element that starts at the position; the reason when it is broken or exceeds `max_characters`."""
    decoder = json.JSONDecoder()
    size = _CHUNK
    while True:
        too_long = len(window.text) - window.position > max_characters
        try:
            _, end = decoder.raw_decode(window.text, window.position)
        except RecursionError:
            return "invalid_json"
        except json.JSONDecodeError as e:
            # An unfinished string is reported where it begins; every other unfinished value at the end of the text.
            unfinished = e.msg.startswith("Unterminated string") or e.pos >= len(window.text.rstrip()) - len("\\u0000")
            if not unfinished or window.ended or too_long:
                return "line_too_long" if unfinished and too_long else _reason(window.text, e)
        else:
            if end - window.position > max_characters:
                return "line_too_long"
            # A number at the very end of the text may continue in the next chunk.
            if end < len(window.text) or window.ended:
                return end
        window.more(size)
        size *= 2


def _reason(text: str, error: json.JSONDecodeError) -> str:
    # A line that ends inside a string was truncated there too.
    line_ended = error.msg.startswith("Invalid control character") and text[error.pos] in "\r\n"
    ended = error.msg.startswith("Unterminated string") or error.pos >= len(text.rstrip())
    return "truncated_json" if ended or line_ended else "invalid_json"


def _resume(window: _Window, first_keys: Counter[str]) -> None:
    """Advance to the probable start of the next element: an object with the most frequent first key of valid ones."""
    first_key = first_keys.most_common(1)[0][0] if first_keys else _likeliest_first_key(window)
    start = re.compile(r"[,\[\]}\s]\s*(\{\s*" + re.escape(first_key) + r"\s*:)" if first_key else r",\s*(\{)")
    window.advance(min(window.position + 1, len(window.text)))
    while True:
        # Start one character earlier: the pattern also matches the character before the brace.
        match = start.search(window.text, max(window.position - 1, 0))
        if match:
            window.advance(match.start(1))
            return
        if window.ended:
            window.advance(len(window.text))
            return
        # The start of an element may span two chunks: keep the last kilobyte.
        window.advance(max(window.position, len(window.text) - 1024))
        window.more(_CHUNK)


def _likeliest_first_key(window: _Window) -> str:
    """The first key of the longest object that follows: an element is longer than its nested objects."""
    longest: dict[str, int] = {}
    for match in islice(_FIRST_KEY.finditer(window.text, window.position + 1), 200):
        try:
            _, end = json.JSONDecoder().raw_decode(window.text, match.start())
        except (json.JSONDecodeError, RecursionError):
            continue
        longest[match[1]] = max(longest.get(match[1], 0), end - match.start())
    return max(longest, key=lambda key: longest[key], default="")
