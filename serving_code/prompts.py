"""Encodes a conversation with the model's own chat template; user text never becomes a control token."""

from __future__ import annotations

import copy
import secrets
import threading
from collections.abc import Sequence
from typing import Any

from serving_code.chat_text import Turn, control_tokens

Message = Turn


class UnusablePrompt(ValueError):
    """The model's chat template, or its tokenizer, refuses these messages."""


class PromptEncoder:
    """Encodes conversations. Thread-safe, unlike a tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        # A fast tokenizer that one thread reconfigures while another uses it raises "Already borrowed".
        self._tokenizer = copy.deepcopy(tokenizer)
        self._control = control_tokens(tokenizer)
        self._lock = threading.Lock()

    def encode(self, conversation: Sequence[Message]) -> list[int]:
        """The prompt in tokens, ready for the assistant's answer. Raises UnusablePrompt."""
        from jinja2 import TemplateError

        try:
            with self._lock:
                return self._encode(conversation)
        except TemplateError as e:
            raise UnusablePrompt(f"the model's chat template refuses these messages: {e}") from e
        except (TypeError, UnicodeEncodeError) as e:
            raise UnusablePrompt(
                "a message holds an unpaired surrogate, which is not valid text; send valid Unicode"
            ) from e

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text alone, control tokens in it read as plain text. Raises UnusablePrompt."""
        try:
            text.encode()
        except UnicodeEncodeError as e:
            raise UnusablePrompt("the prompt holds an unpaired surrogate; send valid Unicode") from e
        with self._lock:
            return self._ids(text, literal=True)

    def _encode(self, conversation: Sequence[Message]) -> list[int]:
        """Encode the prompt; a message that contains a control token (`<|end|>`) is encoded separately, as plain text.

        Conversations without one are tokenised as a whole, exactly as in training.
        """
        literal: dict[str, str] = {}
        messages = []
        for turn in conversation:
            content = turn["content"]
            content.encode()
            if any(token in content for token in self._control):
                placeholder = f"\ue000{secrets.token_hex(8)}\ue001"
                literal[placeholder], content = content, placeholder
            messages.append({"role": turn["role"], "content": content})
        text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids: list[int] = []
        for placeholder, content in literal.items():
            before, found, text = text.partition(placeholder)
            ids += self._ids(before) + (self._ids(content, literal=True) if found else [])
            text = text if found else before
        return ids + self._ids(text)

    def _ids(self, text: str, *, literal: bool = False) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=literal)
        return list(encoded["input_ids"])
