"""How far a quantised model is from the full one, each in the runtime that serves it.

Both read the same answers, token by token (teacher forcing): those of the test split, and the full model's own answers
to the questions. The full model is in fp32. Then both answer the evaluation questions.
"""

from __future__ import annotations

import dataclasses
import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_code.answering import GENERAL_NEW_TOKENS, MAX_NEW_TOKENS, Reply, ask
from evaluation_code.bits_per_byte import Encoded, encode
from evaluation_code.inputs import InputError, Message, Question, TestRow
from evaluation_code.intervals import paired_difference
from evaluation_code.progress import Progress

if TYPE_CHECKING:
    import torch

    from serving_code.model_folder import LoadedModel

MOST_TOKENS = 20_000
# Logits of so many tokens at a time: 256 x 200,000 in fp32 are 0.2 GB.
LOGITS_AT_ONCE = 256


@dataclass
class Sums:
    """What is summed over answer tokens; bits for the test split alone."""

    tokens: int = 0
    agreed: int = 0
    nats: float = 0.0


@dataclass(frozen=True)
class Subjects:
    """What the models are compared on."""

    test_rows: Sequence[TestRow]
    questions: Sequence[Question]
    general: Sequence[Question]


def measure(full: Path, quantized: Path, subjects: Subjects, progress: Progress, *, seed: int = 0) -> dict[str, Any]:
    """The measurements as a JSON object; see `Sums` and the keys."""
    own, conversations = own_answers(full, subjects, progress)
    report = compare_tokens(full, quantized, subjects.test_rows, conversations, progress)
    report["questions"] = compare_answers(quantized, subjects.questions, own, progress, seed)
    report["runtime"] = runtime()
    return report


def own_answers(full: Path, subjects: Subjects, progress: Progress) -> tuple[list[Reply], list[tuple[Message, ...]]]:
    """The full model's replies to the evaluation questions, and all its answers as conversations."""
    from serving_code.engine import Engine

    if not subjects.questions and not subjects.general:
        return [], []
    engine = Engine.load(full)
    replies: list[Reply] = []
    conversations: list[tuple[Message, ...]] = []
    for kind, questions, most in (
        ("evaluation", subjects.questions, MAX_NEW_TOKENS),
        ("general", subjects.general, GENERAL_NEW_TOKENS),
    ):
        progress.begin(f"full model: answering {len(questions)} {kind} questions")
        found = asked(engine, questions, most, progress)
        conversations += [
            (*question.messages, Message(role="assistant", content=reply.text))
            for question, reply in zip(questions, found, strict=True)
            if reply.text.strip()
        ]
        if kind == "evaluation":
            replies = found
    return replies, conversations


def asked(engine: Any, questions: Sequence[Question], most: int, progress: Progress) -> list[Reply]:
    """The replies, none to no questions."""
    if not questions:
        return []
    return ask(
        engine,
        questions,
        batch_size=16,
        progress=lambda count: progress.done(count, len(questions)),
        max_new_tokens=most,
    )


def compare_tokens(
    full: Path,
    quantized: Path,
    rows: Sequence[TestRow],
    answers: Sequence[Sequence[Message]],
    progress: Progress,
) -> dict[str, Any]:
    """Agreement of the likeliest token, KL divergence and bits per byte, on at most MOST_TOKENS answer tokens."""
    from serving_code.model_folder import load_model_folder

    ours, theirs = load_model_folder(quantized), load_model_folder(full, "float32")
    every, test = Sums(), Sums()
    bits = {"full": 0.0, "quantized": 0.0}
    size = 0
    progress.begin("comparing tokens")
    for place, (encoded, is_test) in enumerate(texts(theirs, rows, answers)):
        if every.tokens >= MOST_TOKENS:
            break
        for chunk, reference, found in logits_of(theirs, ours, encoded):
            sums = compared(reference, found)
            for total in (every, test) if is_test else (every,):
                total.tokens, total.agreed = total.tokens + sums.tokens, total.agreed + sums.agreed
                total.nats += sums.nats
            if is_test:
                bits["full"] += bits_of(reference, encoded, chunk)
                bits["quantized"] += bits_of(found, encoded, chunk)
        size += encoded.content_bytes if is_test else 0
        progress.done(place + 1, len(rows) + len(answers))
    del ours, theirs
    gc.collect()
    return {
        "tokens": every.tokens,
        "test_tokens": test.tokens,
        "agreement": every.agreed / max(every.tokens, 1),
        "kl": every.nats / max(every.tokens, 1),
        "bits_per_byte": {name: value / max(size, 1) for name, value in bits.items()},
        "bits_change": bits["quantized"] / bits["full"] - 1 if bits["full"] else 0.0,
    }


def texts(
    loaded: LoadedModel, rows: Sequence[TestRow], answers: Sequence[Sequence[Message]]
) -> Iterator[tuple[Encoded, bool]]:
    """The test split's conversations, which have True, then the answers; without those that are too long."""
    for messages, is_test in (*((row.messages, True) for row in rows), *((answer, False) for answer in answers)):
        try:
            encoded = encode(loaded.tokenizer, messages, loaded.end_ids)
        except InputError:
            if is_test:
                raise
            continue  # an answer whose text the template changes
        if encoded.scored and len(encoded.ids) <= loaded.context_length:
            yield encoded, is_test


def logits_of(
    full: LoadedModel, quantized: LoadedModel, encoded: Encoded
) -> Iterator[tuple[tuple[int, ...], torch.Tensor, torch.Tensor]]:
    """Places of scored tokens, some at a time, and the logits of both models that predict them."""
    for start in range(0, len(encoded.scored), LOGITS_AT_ONCE):
        chunk = encoded.scored[start : start + LOGITS_AT_ONCE]
        ids = encoded.ids[: chunk[-1]]
        yield chunk, torch_logits(full, ids, chunk), onnx_logits(quantized, ids, chunk)


def torch_logits(loaded: LoadedModel, ids: Sequence[int], chunk: Sequence[int]) -> torch.Tensor:
    """The logits (places, vocabulary) of a PyTorch model."""
    import torch

    before = torch.tensor([place - 1 for place in chunk])
    with torch.inference_mode():
        output = loaded.model(input_ids=torch.tensor([list(ids)]), use_cache=False, logits_to_keep=before)
    return output.logits[0].float()


def onnx_logits(loaded: LoadedModel, ids: Sequence[int], chunk: Sequence[int]) -> torch.Tensor:
    """The logits (places, vocabulary) of a graph, as the engine asks for them."""
    import torch

    from serving_code.attention import Piece, Step
    from serving_code.kv_store import KVStore

    row = KVStore(loaded.context_length).open(None, len(ids))
    before = torch.tensor([place - 1 for place in chunk])
    with torch.inference_mode():
        tokens = torch.tensor([list(ids)])
        output = loaded.model(input_ids=tokens, logits_to_keep=before, step=Step([], [Piece(row, len(ids))]))
    return output.logits[0]


def compared(reference: torch.Tensor, found: torch.Tensor) -> Sums:
    """Agreement and KL divergence (of the quantised model from the full one, in nats) over tokens."""
    expected, ours = reference.log_softmax(-1), found.log_softmax(-1)
    agreed = int((expected.argmax(-1) == ours.argmax(-1)).sum())
    nats = float((expected.exp() * (expected - ours)).sum(dtype=expected.double().dtype))
    return Sums(len(expected), agreed, nats)


def bits_of(logits: torch.Tensor, encoded: Encoded, chunk: Sequence[int]) -> float:
    """The bits of the tokens at these places."""
    import torch

    targets = torch.tensor([encoded.ids[place] for place in chunk])
    nats = torch.nn.functional.cross_entropy(logits, targets, reduction="none").double().sum()
    return nats.item() / math.log(2)


def compare_answers(
    quantized: Path, questions: Sequence[Question], own: Sequence[Reply], progress: Progress, seed: int
) -> dict[str, Any] | None:
    """Right answers of both, and the difference of the shares with its 95% bounds; None without questions."""
    from serving_code.engine import Engine

    if not questions:
        return None
    progress.begin(f"quantised model: answering {len(questions)} evaluation questions")
    found = asked(Engine.load(quantized), questions, MAX_NEW_TOKENS, progress)
    ours, theirs = ([float(reply.judgement.right) for reply in replies] for replies in (found, own))
    difference = paired_difference(ours, theirs, [1] * len(ours), range(len(ours)), seed=seed)
    return {
        "count": len(questions),
        "right": {"full": int(sum(theirs)), "quantized": int(sum(ours))},
        "same_text": sum(one.text == other.text for one, other in zip(found, own, strict=True)),
        **dataclasses.asdict(difference),
    }


def runtime() -> str:
    """Name and release of the runtime that was measured."""
    from importlib.metadata import version

    return f"onnxruntime {version('onnxruntime')}"
