"""Turns a tokenizer.json into what GGUF stores of a tokenizer: tokens, their types, and merges or scores.

llama.cpp has a tokenizer of its own for each kind. A tokenizer that it would not reproduce is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from export_code.errors import CannotExport
from export_code.splitting import pre_tokenizer_name

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # as gguf.TokenType
_BYTE = re.compile("<0x[0-9A-F]{2}>")
SPACE = "\u2581"
UNREACHED = -1e6  # the score of a token that no merge makes


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer as GGUF stores it: `llama` is SentencePiece's (scores), `gpt2` byte-level BPE (merges)."""

    kind: Literal["llama", "gpt2"]
    pre_tokenizer: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    space_before: bool = False
    strips_right: frozenset[str] = frozenset()
    """Control tokens that take the white space after them."""
    added: Mapping[str, int] = field(default_factory=dict)


def vocabulary_of(tokenizer: Mapping[str, Any], rows: int, where: str) -> Vocabulary:
    """The vocabulary of a tokenizer.json, filled up to `rows` of the embedding. Raises CannotExport."""
    model = tokenizer.get("model") or {}
    if model.get("type") != "BPE":
        raise CannotExport(
            f"{where} is of kind {model.get('type')!r}; llama.cpp is given BPE only: use a Phi tokenizer"
        )
    if model.get("dropout") or model.get("ignore_merges"):
        raise CannotExport(f"{where} has dropout or ignore_merges, which llama.cpp would not do: use a Phi tokenizer")
    tokens, types = [f"[PAD{number}]" for number in range(rows)], [UNUSED] * rows
    pieces: dict[str, int] = model["vocab"]
    for piece, number in pieces.items():
        tokens[number] = piece
        types[number] = BYTE if model.get("byte_fallback") and _BYTE.fullmatch(piece) else NORMAL
    added = tokenizer.get("added_tokens") or []
    for token in added:
        tokens[token["id"]] = token["content"]
        types[token["id"]] = CONTROL if token.get("special") else USER_DEFINED
    unknown = str(model.get("unk_token"))
    if unknown in pieces:
        types[pieces[unknown]] = UNKNOWN
    strips = frozenset(token["content"] for token in added if token.get("rstrip"))
    numbers = {token["content"]: token["id"] for token in added}
    merges = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        return Vocabulary(
            "llama",
            "default",
            tokens,
            types,
            scores=_scores(tokens, types, merges, where),
            space_before=_space_before(tokenizer, where),
            strips_right=strips,
            added=numbers,
        )
    return Vocabulary(
        "gpt2",
        pre_tokenizer_name(tokenizer, where),
        tokens,
        types,
        merges=[" ".join(merge) for merge in merges],
        strips_right=strips,
        added=numbers,
    )


def _scores(tokens: list[str], types: list[int], merges: list[tuple[str, ...]], where: str) -> list[float]:
    """Scores that make SentencePiece merge in the order of `merges`.

    SentencePiece merges whatever two pieces make a token, so every way to make one must be among the merges.
    """
    first: dict[str, int] = {}
    for rank, (left, right) in enumerate(merges):
        first.setdefault(left + right, rank)
    known = set(merges)
    pieces = {token for token, kind in zip(tokens, types, strict=True) if kind == NORMAL}
    for token in pieces:
        for at in range(1, len(token)):
            split = (token[:at], token[at:])
            if split not in known and pieces.issuperset(split):
                raise CannotExport(
                    f"{where} makes the token {token!r} in fewer ways than SentencePiece would: llama.cpp would split "
                    "text otherwise; use a tokenizer that was converted from SentencePiece"
                )
    return [
        -float(first[token]) if token in first else 0.0 if kind == BYTE or len(token) == 1 else UNREACHED
        for token, kind in zip(tokens, types, strict=True)
    ]


def _space_before(tokenizer: Mapping[str, Any], where: str) -> bool:
    """Whether a space is put before a text: what is left of SentencePiece's normaliser in tokenizer.json."""
    normaliser = tokenizer.get("normalizer") or {}
    steps = normaliser.get("normalizers", [normaliser] if normaliser else [])
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepend = {"type": "Prepend", "prepend": SPACE}
    if tokenizer.get("pre_tokenizer") is not None or [step for step in steps if step != prepend] != [replace]:
        raise CannotExport(
            f"{where} normalises or splits text otherwise than SentencePiece with byte fallback does in llama.cpp: "
            "use a tokenizer of a published Phi-3"
        )
    return prepend in steps
