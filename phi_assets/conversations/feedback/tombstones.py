"""What people took back, as hashes: their words are kept out of data without being kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from phi_assets.conversations.rows import Message, normalised
from phi_assets.files import atomic_write, private_folder, read_json

FILE = "forgotten.json"
DIGITS = 32
REMEDY = "put it back from a copy of the home; without it, what people took back may be learned again"


@dataclass(frozen=True)
class Tombstones:
    """Hashes (hex) of forgotten conversations, and of questions with an answer that no dataset may hold."""

    conversations: frozenset[str] = frozenset()
    pairs: frozenset[str] = frozenset()


def read(folder: Path) -> Tombstones:
    """Return the tombstones in a folder; none without the file. Raises BackendError where it is damaged."""
    file = folder / FILE
    if not file.is_file():
        return Tombstones()
    fields = read_json(file, REMEDY)
    return Tombstones(*(frozenset(map(str, fields.get(name, ()))) for name in ("conversations", "pairs")))


def write(folder: Path, tombstones: Tombstones) -> None:
    """Write the tombstones to a folder; nothing where there are none and never were any."""
    if tombstones != read(folder):
        fields = {"conversations": sorted(tombstones.conversations), "pairs": sorted(tombstones.pairs)}
        atomic_write(private_folder(folder) / FILE, json.dumps(fields, indent=1) + "\n")


def conversation_hash(user: str, conversation: str) -> str:
    """Return the hash of a person's conversation."""
    return _hash(user, conversation)


def pair_hash(question: str, answer: str) -> str:
    """Return the hash of a question with its answer; case, punctuation and spaces make no difference."""
    return _hash(_words(question), _words(answer))


def holds(turns: Sequence[Message], forgotten: frozenset[str]) -> bool:
    """Return whether a conversation has a question with an answer that was taken back."""
    return any(
        turn.role == "assistant" and before.role == "user" and pair_hash(before.content, turn.content) in forgotten
        for before, turn in pairwise(turns)
    )


def _words(text: str) -> str:
    folded = normalised(text)
    return " ".join("".join(each if each.isalnum() else " " for each in folded).split()) or folded


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:DIGITS]
