"""A model in llama.cpp's own server, which package xllamacpp carries: asked over HTTP, as any client asks it."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class LlamaServer:
    """What llama.cpp makes of texts and tokens."""

    def __init__(self, address: str, vocabulary: int) -> None:
        self._address, self._vocabulary = address, vocabulary

    def tokens(self, text: str, *, control: bool = True) -> list[int]:
        """The text in tokens; without `control`, a control token in it is text."""
        asked = {"content": text, "add_special": False, "parse_special": control}
        return self._ask("/tokenize", asked)["tokens"]

    def log_probabilities(self, tokens: Sequence[int]) -> list[float]:
        """Natural logarithms of the probabilities of every token of the vocabulary to be the next one."""
        # The server leaves probabilities out of an answer that is empty or half a character: it is made to choose this.
        chosen = [self.tokens("a")[-1], 1e6]
        asked = {"prompt": list(tokens), "n_predict": 1, "n_probs": self._vocabulary, "logit_bias": [chosen]}
        found = self._ask("/completion", asked)["completion_probabilities"][0]["top_logprobs"]
        by_token = {each["id"]: each["logprob"] for each in found}
        return [by_token[token] for token in range(self._vocabulary)]

    def prompt(self, messages: Sequence[Any]) -> str:
        """The conversation as the file's chat template renders it, ready for the answer."""
        return self._ask("/apply-template", {"messages": list(messages)})["prompt"]

    def answer(self, messages: Sequence[Any], most: int) -> str:
        """The greedy answer in at most so many tokens."""
        asked = {"messages": list(messages), "max_tokens": most, "temperature": 0}
        return self._ask("/v1/chat/completions", asked)["choices"][0]["message"]["content"]

    def decoded(self, messages: Sequence[Any], most: int) -> int:
        """How many tokens a greedy answer of at most so many takes."""
        asked = {"messages": list(messages), "max_tokens": most, "temperature": 0, "cache_prompt": False}
        return self._ask("/v1/chat/completions", asked)["usage"]["completion_tokens"]

    def _ask(self, path: str, asked: dict[str, Any]) -> Any:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._address + path, json.dumps(asked).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def served(file: Path, vocabulary: int, context: int, *, threads: int = 1) -> Iterator[LlamaServer]:
    """Serve the GGUF file on loopback during the block."""
    import xllamacpp

    settings: Any = xllamacpp.CommonParams()
    settings.model.path = str(file)
    settings.n_ctx, settings.n_parallel, settings.warmup = context, 1, False
    settings.cpuparams.n_threads = threads
    server = xllamacpp.Server(settings)
    try:
        yield LlamaServer(server.listening_address, vocabulary)
    finally:
        del server
