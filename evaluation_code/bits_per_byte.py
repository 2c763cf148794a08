"""Completion bits per byte: how well a model predicts the assistant's turns, independent of its tokenizer.

The sum of -log2 p over the tokens of each assistant turn and the token that ends it, divided by the UTF-8 bytes of
those turns' content. Everything else (system, user turns, template) is given, not scored.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evaluation_code.inputs import InputError, Message, is_scored, rendered

if TYPE_CHECKING:
    import torch

    from serving_code.model_folder import LoadedModel

# The logits of a batch are its padded tokens times the vocabulary: 2,048 x 200,000 in fp32 are 1.6 GB.
MAX_BATCH_TOKENS = 2_048


@dataclass(frozen=True)
class Encoded:
    """A rendered conversation: token ids, the positions of those to be scored, and bytes of assistant content."""

    ids: tuple[int, ...]
    scored: tuple[int, ...]
    content_bytes: int


@dataclass(frozen=True)
class RowScore:
    """Bits and bytes of one conversation's assistant turns. `bits` is NaN when the model's output is not finite."""

    bits: float
    content_bytes: int
    tokens: int


def encode(tokenizer: Any, messages: Sequence[Message], end_ids: Collection[int] = ()) -> Encoded:
    """The conversation as the model's own chat template renders it, with each assistant turn and its end token marked.

    `end_ids` end an answer in addition to the tokenizer's own special tokens.
    Raises InputError when the rendered text lacks a turn's content, because the turn then cannot be scored.
    """
    text: str = tokenizer.apply_chat_template(rendered(messages), tokenize=False)
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = encoding["input_ids"], encoding["offset_mapping"]
    ends = {*tokenizer.all_special_ids, *end_ids}
    scored: list[int] = []
    size = 0
    for number, message in enumerate(messages):
        if not is_scored(message):
            continue
        start, end = _content_span(tokenizer, text, messages, number)
        size += len(message["content"].encode())
        # Offsets may leave out a token's leading space, so all tokens between the first and the last count.
        first = next(place for place, (_, stop) in enumerate(offsets) if stop > start)
        last = max(place for place, (begin, stop) in enumerate(offsets) if begin < end and stop > begin)
        closing = last + 1
        if closing < len(ids) and ids[closing] in ends:
            last = closing
        scored.extend(range(max(first, 1), last + 1))
    return Encoded(tuple(ids), tuple(scored), size)


def _content_span(tokenizer: Any, text: str, messages: Sequence[Message], number: int) -> tuple[int, int]:
    """Start and end of an assistant turn's content in the rendered text, in characters."""
    prompt: str = tokenizer.apply_chat_template(rendered(messages[:number]), tokenize=False, add_generation_prompt=True)
    if not text.startswith(prompt):
        raise InputError(
            f"the chat template renders turn {number + 1} differently once it is answered; "
            "scoring needs a template that only appends"
        )
    content = messages[number]["content"]
    if content not in text[len(prompt) :]:
        content = content.strip()  # some templates trim
    start = text.find(content, len(prompt))
    if start < 0 or text[len(prompt) : start].strip():
        raise InputError(f"the chat template does not show the content of assistant turn {number + 1} as it is written")
    return start, start + len(content)


def score_conversations(
    loaded: "LoadedModel",
    conversations: Sequence[Sequence[Message]],
    *,
    batch_size: int,
    progress: Callable[[int], None] = lambda done: None,
) -> list[RowScore | None]:
    """Scores each conversation, in order; None for one that is longer than the model's context."""
    encoded = [encode(loaded.tokenizer, messages, loaded.end_ids) for messages in conversations]
    fitting = [place for place, row in enumerate(encoded) if len(row.ids) <= loaded.context_length]
    scores: list[RowScore | None] = [None] * len(encoded)
    done = 0
    for batch in batches([len(encoded[place].ids) for place in fitting], batch_size):
        places = [fitting[number] for number in batch]
        rows = [encoded[place] for place in places]
        for place, row, bits in zip(places, rows, score_batch(loaded.model, rows), strict=True):
            scores[place] = RowScore(bits, row.content_bytes, len(row.scored))
        done += len(places)
        progress(done)
    return scores


def batches(lengths: Sequence[int], batch_size: int, max_tokens: int = MAX_BATCH_TOKENS) -> list[list[int]]:
    """Places in `lengths`, longest first, in batches of at most `batch_size` rows and, padded, `max_tokens` tokens."""
    result: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        longest = lengths[result[-1][0]] if result else 0
        if not result or len(result[-1]) == batch_size or longest * (len(result[-1]) + 1) > max_tokens:
            result.append([])
        result[-1].append(place)
    return result


def score_batch(model: Any, rows: Sequence[Encoded]) -> list[float]:
    """Bits of each row's scored tokens. Rows are padded on the right, which a causal model cannot see."""
    import torch

    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([[*row.ids, *[0] * (width - len(row.ids))] for row in rows], device=model.device)
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows], device=model.device)
    # Only the positions before a scored token need logits: the vocabulary is the widest layer of a small model.
    before = sorted({place - 1 for row in rows for place in row.scored})
    column = {place: number for number, place in enumerate(before)}
    with torch.inference_mode():
        kept = torch.tensor(before, device=model.device)
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits
        return [_bits(logits[number], row, column) for number, row in enumerate(rows)]


def _bits(logits: "torch.Tensor", row: Encoded, column: dict[int, int]) -> float:
    import torch

    kept = logits[[column[place - 1] for place in row.scored]].float()
    targets = torch.tensor([row.ids[place] for place in row.scored], device=logits.device)
    nats = torch.nn.functional.cross_entropy(kept, targets, reduction="none").double().sum()
    return nats.item() / math.log(2)
