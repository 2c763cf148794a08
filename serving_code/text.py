"""Decodes tokens to text incrementally, without broken characters or parts of a stop string."""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


class TextStream:
    """Turns token ids into text deltas whose concatenation is the answer.

    A delta never holds a partial UTF-8 character. Text that may be the beginning of a stop string is buffered until it
    is known not to be.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(stop)
        self._ids: list[int] = []
        # Decoding starts a few tokens earlier: some tokenizers drop the space before the first word of a text.
        self._window = 0
        self._read = 0
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """The text that is final after one more token; sets `stopped` when a stop string has appeared."""
        self._ids.append(token)
        known, text = self._window_texts()
        if text.endswith(REPLACEMENT) or len(text) <= len(known):
            return ""
        self._window, self._read = self._read, len(self._ids)
        return self._release(text[len(known) :])

    def finish(self) -> str:
        """The rest of the text after the last token; bytes of an incomplete character are dropped."""
        if self.stopped:
            return ""
        known, text = self._window_texts()
        rest = self._release(text[len(known) :].rstrip(REPLACEMENT))
        if self.stopped:
            return rest
        held, self._held = self._held, ""
        return rest + held

    def _window_texts(self) -> tuple[str, str]:
        return self._decode(self._ids[self._window : self._read]), self._decode(self._ids[self._window :])

    def _release(self, new: str) -> str:
        if not self._stop:
            return new
        text = self._held + new
        found = [at for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """How many of the last characters of `text` may be the beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
