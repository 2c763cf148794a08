"""Generates text. The server and the evaluation both use it, so the evaluation scores exactly what is served."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving_code.json_grammar import JsonGrammars, UnusableSchema
from serving_code.model_folder import DType, LoadedModel, load_model_folder
from serving_code.prompts import Message, PromptEncoder, UnusablePrompt
from serving_code.sampling import Chooser, Sampling, TokenChoice
from serving_code.text import TextStream

if TYPE_CHECKING:
    import torch

    from serving_code.decoding import DecodingBatch
    from serving_code.generation import FinishReason, Generation
    from serving_code.prefix_cache import PrefixCache

__all__ = ["Completion", "Engine", "Message", "PromptTooLong", "Sampling", "UnusablePrompt", "UnusableSchema"]

ROWS = 16


class PromptTooLong(ValueError):
    """The prompt leaves no room for an answer."""


@dataclass(frozen=True)
class Completion:
    """One answer. `finish_reason` is "stop" (the model or a stop string ended it) or "length" (max_new_tokens did).

    `dropped_turns` is how many of the oldest turns were left out; `cached_tokens` of the prompt were not read again.
    `choices` are the tokens with their log probabilities, if the request asked for them.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    dropped_turns: int = 0
    cached_tokens: int = 0
    choices: tuple[TokenChoice, ...] = ()


class Engine:
    """Answers conversations with a loaded model."""

    def __init__(self, loaded: LoadedModel, kv_bytes: int | None = None) -> None:
        """`kv_bytes` is the memory for keys and values; None takes a share of what is free. Raises UnusableModel."""
        from serving_code.attention_check import checked_bytes_per_token
        from serving_code.kv_budget import SHARE, available_bytes
        from serving_code.kv_store import SMALLEST

        per_token = checked_bytes_per_token(loaded)
        memory = int(available_bytes(loaded.device) * SHARE) if kv_bytes is None else kv_bytes
        self.kv_tokens = max(memory // per_token, SMALLEST)
        # An answer that could not be held in memory would be refused anyway: a shorter context says so in advance.
        self._loaded = replace(loaded, context_length=min(loaded.context_length, self.kv_tokens))
        self._prompts = PromptEncoder(loaded.tokenizer)
        self._grammars = JsonGrammars(loaded)
        self._vocabulary: int = loaded.vocabulary

    @classmethod
    def load(
        cls, model_dir: Path, *, threads: int | None = None, dtype: DType = "auto", kv_bytes: int | None = None
    ) -> Engine:
        """Load a model folder. `threads` applies to the whole process; `dtype` "auto" is bfloat16 where it is fast.

        Raises UnsafeModel or UnusableModel.
        """
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return cls(load_model_folder(Path(model_dir), dtype), kv_bytes)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self._loaded.device

    @property
    def context_length(self) -> int:
        """Maximum tokens of a prompt and its answer together."""
        return self._loaded.context_length

    def prepare(
        self,
        conversation: Sequence[Message],
        sampling: Sampling,
        *,
        drop_oldest: bool = False,
        caller: str | None = None,
    ) -> Generation:
        """A generation that has not started: the conversation rendered by the model's chat template, as tokens.

        With `drop_oldest`, the oldest turns are left out, never the system prompt and the last turn, until the answer
        has room for `sampling.max_new_tokens`, at most a quarter of the context length. Raises PromptTooLong or
        UnusablePrompt.
        """
        dropped = self._turns_to_drop(conversation, sampling) if drop_oldest else 0
        prompt = self._prompts.encode(without_oldest(conversation, dropped))
        return self.generation(prompt, sampling, dropped_turns=dropped, caller=caller)

    def generation(
        self, prompt: list[int], sampling: Sampling, *, dropped_turns: int = 0, caller: str | None = None
    ) -> Generation:
        """A generation that has not started, from a prompt in tokens. Raises PromptTooLong."""
        from serving_code.generation import Generation

        room = self.context_length - len(prompt)
        if room < 1:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens and the context length, answer included, is "
                f"{self.context_length}; shorten the messages or leave out the oldest"
            )
        grammar = self._grammars.of(sampling.json_schema) if sampling.json_schema else None
        self._refuse_unknown_tokens(prompt, sampling)
        return Generation(
            prompt,
            sampling,
            TextStream(self.decode, sampling.stop),
            max_new_tokens=min(sampling.max_new_tokens, room),
            chooser=Chooser(sampling, prompt, grammar),
            dropped_turns=dropped_turns,
            caller=caller,
        )

    def _turns_to_drop(self, conversation: Sequence[Message], sampling: Sampling) -> int:
        """The least number of oldest turns without which the prompt fits; the greatest possible when none does."""
        longest = self.context_length - min(sampling.max_new_tokens, self.context_length // 4)

        def fits(dropped: int) -> bool:
            return len(self._prompts.encode(without_oldest(conversation, dropped))) <= longest

        if fits(0):
            return 0
        choices = turns_that_may_go(conversation)
        at = bisect_left(choices, True, key=fits)
        return choices[min(at, len(choices) - 1)]

    def new_batch(self, prefixes: PrefixCache | None = None) -> DecodingBatch:
        """An empty batch, which the caller advances step by step."""
        from serving_code.decoding import DecodingBatch

        return DecodingBatch(self._loaded, self.kv_tokens, prefixes)

    def complete(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, *, rows: int = ROWS
    ) -> list[Completion]:
        """The answers, in the conversations' order; at most `rows` are decoded together."""
        generations = [self.prepare(conversation, sampling) for conversation in conversations]
        # Answers of similar length are decoded together, to reduce padding.
        waiting = deque(sorted(generations, key=lambda generation: len(generation.prompt), reverse=True))
        batch = self.new_batch()
        while waiting or batch.rows:
            while waiting and len(batch.rows) < rows and batch.fits(waiting[0]):
                batch.admit([waiting.popleft()])
            batch.step()
        return [completion_of(generation) for generation in generations]

    def stream(self, conversation: Sequence[Message], sampling: Sampling) -> Iterator[str]:
        """The answer's text in pieces, as they are generated."""
        generation = self.prepare(conversation, sampling)
        batch = self.new_batch()
        batch.admit([generation])
        while batch.rows:
            if batch.step():
                yield generation.delta

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text without a chat template; control tokens in it are plain text. Raises UnusablePrompt."""
        return self._prompts.encode_text(text)

    def token_text(self, token: int) -> str:
        """The text of one token, control tokens included."""
        return self._loaded.tokenizer.decode([token], clean_up_tokenization_spaces=False)

    def _refuse_unknown_tokens(self, prompt: Sequence[int], sampling: Sampling) -> None:
        biased = [token for token, _ in sampling.logit_bias]
        for what, tokens in (("the prompt", prompt), ("logit_bias", biased)):
            unknown = [token for token in tokens if not 0 <= token < self._vocabulary]
            if unknown:
                raise UnusablePrompt(
                    f"{what} holds token {unknown[0]}; this model's tokens are 0 to {self._vocabulary - 1}"
                )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens."""
        return self._loaded.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def completion_of(generation: Generation) -> Completion:
    """The completion of a finished generation."""
    if generation.finish_reason is None:
        raise ValueError("the answer is not finished; step its batch until it is")
    return Completion(
        "".join(generation.pieces),
        generation.finish_reason,
        len(generation.prompt),
        generation.produced,
        generation.dropped_turns,
        generation.cached_tokens,
        tuple(generation.choices),
    )


def turns_that_may_go(conversation: Sequence[Message]) -> list[int]:
    """The numbers of oldest turns that may be left out, 0 first: what is left begins with a question."""
    spoken = [turn for turn in conversation if turn["role"] != "system"]
    return [0, *(at for at, turn in enumerate(spoken) if at and turn["role"] == "user")]


def without_oldest(conversation: Sequence[Message], count: int) -> list[Message]:
    """The conversation without its `count` oldest turns; system prompts stay."""
    kept: list[Message] = []
    for turn in conversation:
        if turn["role"] != "system" and count:
            count -= 1
        else:
            kept.append(turn)
    return kept
