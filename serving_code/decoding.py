"""The decode loop: each step adds a token to every answer, and reads some more of the prompts that wait.

Sequences join and leave between steps. A long prompt is read in pieces, so that no step takes long.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from serving_code.attention import Decoding, Piece, Step
from serving_code.generation import FinishReason, Generation
from serving_code.kv_store import KVStore, Row, capacity_for
from serving_code.model_folder import LoadedModel
from serving_code.onnx_model import OnnxModel
from serving_code.prefix_cache import SHORTEST, PrefixCache, shared

__all__ = ["PROMPT_TOKENS", "DecodingBatch", "FinishReason", "Generation"]

PROMPT_TOKENS = 2048
# Smaller pieces of a prompt take nearly as long as this one.
SMALLEST_PIECE = 64
# Room for an answer that is reserved with a prompt's shelf; longer ones move to a larger shelf.
ANSWER_ROOM = 128


class DecodingBatch:
    """The answers being generated together, by a model with ragged attention."""

    def __init__(self, loaded: LoadedModel, budget: int, prefixes: PrefixCache | None = None) -> None:
        self._loaded, self._budget, self._prefixes = loaded, budget, prefixes
        self._longest = min(loaded.context_length, budget)
        self.store = KVStore(self._longest)
        self.rows: list[Generation] = []
        self.reading: list[Generation] = []
        # The work of the last step's prompts, in tokens at the beginning of a prompt.
        self.read_work = 0.0
        self._equal_work = _equal_work(loaded)

    def admit(self, newcomers: Sequence[Generation]) -> None:
        """Let the newcomers take part from the next step on."""
        self.rows += newcomers

    def fits(self, newcomer: Generation) -> bool:
        """Whether the memory is enough for the newcomer and the answers being generated, if all get as long as allowed.

        Stored prefixes make room. One answer alone always fits, because the context is limited to the memory.
        """
        left = self._budget - self.reserved() - self._most(newcomer)
        if left < 0 and self.rows:
            return False
        if self._prefixes:
            self._prefixes.shrink(max(left, 0))
        return True

    def reserved(self) -> int:
        """The tokens that the answers being generated can come to hold."""
        return sum(self._most(generation) for generation in self.rows)

    def _most(self, generation: Generation) -> int:
        return capacity_for(generation.most_tokens, self._longest)

    @torch.inference_mode()
    def step(self, prompt_tokens: int = PROMPT_TOKENS) -> list[Generation]:
        """One forward pass; returns the answers that got a token, finished or not. Finished ones leave.

        As much of the waiting prompts is read as takes the time of `prompt_tokens` at the beginning of a prompt.

        After an error nothing has changed: `reading` are the answers whose prompts the failed pass read.
        """
        if not self.rows:
            return []
        self.reading = []
        planned = self._plan(prompt_tokens)
        self.reading = [generation for generation, _ in planned]
        for generation in self.rows:
            if generation.output and generation.row:
                self.store.make_room(generation.row, generation.row.length + 1)
        decoding = [shelf for shelf in self.store if shelf.decoding]
        rows: list[Generation] = [row.owner for shelf in decoding for row in shelf.rows[: shelf.decoding]]
        pieces = [Piece(_row(generation), tokens) for generation, tokens in planned]
        logits, answering = self._forward(
            rows, planned, Step([self._lengths(shelf.rows[: shelf.decoding]) for shelf in decoding], pieces)
        )
        for generation in rows:
            _row(generation).length += 1
        for piece in pieces:
            piece.row.length += piece.tokens
        for generation in answering[len(rows) :]:
            row = _row(generation)
            row.shelf.begin_decoding(row)
        # Many times as fast as argmax on a processor.
        likeliest: list[int] = logits.max(dim=-1).indices.tolist()
        for at, generation in enumerate(answering):
            generation.accept(generation.chooser.choose(logits[at], likeliest[at]), self._loaded.end_ids)
            if generation.finish_reason:
                self.discard(generation)
        return answering

    @torch.inference_mode()
    def discard(self, generation: Generation) -> None:
        """Remove an answer; what it has stored may serve a later prompt."""
        if generation not in self.rows:
            return
        self.rows.remove(generation)
        if generation.row is None:
            return
        row = generation.row
        if self._prefixes and generation.caller is not None:
            tokens = generation.stored_tokens()
            if self._prefixes.wants(generation.caller, tokens):
                self._prefixes.shrink(max(self._budget - self.reserved() - len(tokens), 0))
                self._prefixes.add(generation.caller, tokens, row.shelf.read(row, len(tokens)))
        self.store.close(row)
        generation.row = None

    def _plan(self, most: int) -> list[tuple[Generation, int]]:
        """Which prompts are read now, and how many tokens of each.

        Short prompts come first and whole, so that they do not wait for a long one to be read; half is for the long.
        """
        short = max(most // 2, 1)
        waiting = sorted((each for each in self.rows if not each.output), key=lambda each: self._work(each) > short)
        for_long = most - short if waiting and self._work(waiting[-1]) > short else 0
        planned: list[tuple[Generation, int]] = []
        self.read_work = 0.0
        for generation in waiting:
            long = self._work(generation) > short
            room = most - self.read_work - (0 if long else for_long)
            if room < 1:
                break
            if generation.row is None:
                self._open(generation)
            work = 1 + _row(generation).length / self._equal_work
            smallest = min(SMALLEST_PIECE, most)
            tokens = min(generation.unread, max(int(room / work), smallest))
            if long or tokens == generation.unread or not planned:
                planned.append((generation, tokens))
                self.read_work += tokens * work
        return planned

    def _work(self, generation: Generation) -> float:
        read = generation.row.length if generation.row else 0
        return generation.unread * (1 + read / self._equal_work)

    def _open(self, generation: Generation) -> None:
        """Give the sequence a row, with the tokens that the cache or another row of the same caller has of it."""
        room = min(generation.most_tokens, len(generation.prompt) + ANSWER_ROOM)
        generation.row = row = self.store.open(generation, room)
        if generation.caller is None or self._prefixes is None:
            return
        found, entry = self._prefixes.find(generation.caller, generation.prompt_array)
        running, other = self._running(generation)
        # The last token is read again: its logits choose the first token of the answer.
        tokens = min(max(found, running), len(generation.prompt) - 1)
        if tokens < SHORTEST:
            return
        if other is not None and running >= found:
            layers = other.shelf.read(other, tokens)
        elif entry is not None:
            self._prefixes.used(entry)
            layers = [(keys[:, :tokens], values[:, :tokens]) for keys, values in entry.layers]
        else:
            return
        row.shelf.write(row, layers)
        generation.cached_tokens = tokens

    def _running(self, generation: Generation) -> tuple[int, Row | None]:
        best: tuple[int, Row | None] = (0, None)
        for other in self.rows:
            if other.caller == generation.caller and other.row and other is not generation:
                common = shared(other.stored_tokens(), generation.prompt_array)
                best = max(best, (common, other.row), key=lambda each: each[0])
        return best

    def _lengths(self, rows: Sequence[Row]) -> Decoding:
        lengths = [row.length for row in rows]
        return Decoding(rows[0].shelf, torch.tensor(lengths, device=self._loaded.device), max(lengths) + 1)

    def _forward(
        self, rows: list[Generation], planned: list[tuple[Generation, int]], step: Step
    ) -> tuple[torch.Tensor, list[Generation]]:
        """The logits of the answers that get a token, (answers, vocabulary), and these answers."""
        ids = [generation.output[-1] for generation in rows]
        positions = [_row(generation).length for generation in rows]
        wanted, answering = list(range(len(rows))), list(rows)
        for generation, tokens in planned:
            start = _row(generation).length
            ids += generation.prompt[start : start + tokens]
            positions += range(start, start + tokens)
            if tokens == generation.unread:
                wanted.append(len(ids) - 1)
                answering.append(generation)
        device = self._loaded.device
        output = self._loaded.model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=device),
            step=step,
        )
        return output.logits[0], answering


def _row(generation: Generation) -> Row:
    assert generation.row is not None, "the answer has left the batch"
    return generation.row


def _equal_work(loaded: LoadedModel) -> float:
    """After how many tokens reading one more costs as much in attention as in the rest of the model.

    From the multiplications of both; attention's count four times, as measured with bfloat16 on a processor.
    """
    model, config = loaded.model, loaded.model.config
    if isinstance(model, OnnxModel):
        layers = model.layer_weights
    else:
        layers = model.num_parameters() - model.get_input_embeddings().weight.numel()
    return max(layers / (8 * config.num_hidden_layers * config.hidden_size), 1.0)
