"""Restricts an answer to JSON of a schema, with llguidance."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from serving_code.model_folder import LoadedModel


# Any white space is valid between JSON's tokens, and a small model can write it until its tokens are used up.
SPACES = r"[\x20\x0A]{1,8}"


class UnusableSchema(ValueError):
    """The JSON schema cannot be followed."""


class JsonGrammars:
    """Makes the grammars of one model's answers. Thread-safe."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self._tokenizer: Any = None
        self._lock = threading.Lock()

    def of(self, schema: str) -> JsonGrammar:
        """The grammar of a JSON schema. Raises UnusableSchema."""
        try:
            from llguidance import LLMatcher
        except ImportError as e:
            raise UnusableSchema("this server has no llguidance, which follows a schema; install it") from e
        tokenizer = self._shared_tokenizer()
        try:
            grammar = LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_pattern": SPACES})
        except ValueError as e:
            raise UnusableSchema(f"the schema cannot be read: {e}") from e
        matcher = LLMatcher(tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise UnusableSchema(f"the schema cannot be followed: {matcher.get_error()}")
        return JsonGrammar(matcher)

    def _shared_tokenizer(self) -> Any:
        """llguidance's view of the vocabulary, made at the first use: that takes about a second."""
        import llguidance.hf

        with self._lock:
            if self._tokenizer is None:
                rows = self._loaded.vocabulary
                ends = sorted(self._loaded.end_ids)
                self._tokenizer = llguidance.hf.from_tokenizer(self._loaded.tokenizer, n_vocab=rows, eos_token=ends)
            return self._tokenizer


class JsonGrammar:
    """The state of one answer."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def restrict(self, logits: torch.Tensor) -> None:
        """Set the logits (vocabulary) of all tokens that cannot come next to minus infinity."""
        import torch

        # 0 for a token that cannot follow, 200 for one that can.
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        logits.masked_fill_(allowed[: logits.shape[0]] == 0, float("-inf"))

    def advance(self, token: int) -> None:
        """Take the chosen token. Raises RuntimeError when the grammar became too complex."""
        if not self._matcher.is_stopped() and not self._matcher.consume_token(token):
            raise RuntimeError(f"the JSON schema could not be followed: {self._matcher.get_error()}")

    def complete(self) -> bool:
        """Whether nothing can follow."""
        return self._matcher.is_stopped()
