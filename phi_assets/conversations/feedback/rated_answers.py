"""What a rated answer proposes to learn: masked, once each, and nothing that the model is evaluated with."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chat_code.history import Rated

LIKE = 0.8
"""Share of common words from which a question counts as one of the evaluation's."""
LEFT_OUT = {
    "no_correction": "rated down without saying what the answer should have been",
    "unfinished": "the answer was cut off",
    "evaluation_question": "the question is one that the model is evaluated with",
    "duplicate": "the same question with the same answer was proposed before",
}


@dataclass(frozen=True)
class Candidate:
    """An answer that a person proposes to learn, and the conversation before it.

    Attributes:
        id: hash of user, conversation and message (hex); the same rating has it for ever.
        person: hash of the user, so that one person's share can be limited without a name.
        correction: the person wrote `proposed`; otherwise it is the model's own answer, rated up.
        turns: the conversation up to the question, masked.
        given: the answer that the model gave, masked.
        proposed: the answer to learn, masked.
        model: name and version of the model that answered.
    """

    id: str
    person: str
    correction: bool
    turns: tuple[dict[str, str], ...]
    given: str
    proposed: str
    comment: str
    model: str
    at: str

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of what is proposed: a changed rating is another proposal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def question(self) -> str:
        return self.turns[-1]["content"]


def candidate_from(fields: Mapping[str, Any]) -> Candidate:
    """Return the candidate of its fields, as `asdict` gives them."""
    return Candidate(**{**fields, "turns": tuple(fields["turns"])})


def fingerprint(rated: Iterable[Rated]) -> str:
    """SHA-256 (hex) over consented ratings, in any order: a chat without new ones changes nothing."""
    said = sorted(
        json.dumps([each.user, each.conversation, each.message.id, asdict(each.message.feedback)])
        for each in rated
        if each.message.feedback
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()


def candidates(
    rated: Iterable[Rated], masked: Callable[[str], str], questions: Sequence[str]
) -> tuple[list[Candidate], Counter[str]]:
    """Return the candidates, corrections first and the oldest first, and how many ratings were left out, by reason.

    Args:
        rated: consented ratings.
        masked: removes secrets and personal data from a text.
        questions: the evaluation's, which must not be learned.
    """
    left_out: Counter[str] = Counter()
    evaluated = [words(question) for question in questions]
    found: list[Candidate] = []
    seen: set[tuple[str, ...]] = set()
    for each in sorted(
        rated, key=lambda one: (not _is_correction(one), one.message.feedback and one.message.feedback.at)
    ):
        reason = _unusable(each)
        if reason:
            left_out[reason] += 1
            continue
        candidate = _candidate(each, masked)
        key = (*words(candidate.question), "|", *words(candidate.proposed))
        if any(alike(words(candidate.question), question) for question in evaluated):
            left_out["evaluation_question"] += 1
        elif key in seen:
            left_out["duplicate"] += 1
        else:
            seen.add(key)
            found.append(candidate)
    return found, left_out


def candidate_id(rated: Rated) -> str:
    """Return the id of what a rating proposes."""
    return _hash(rated.user, rated.conversation, rated.message.id)


def questions_of(file: Path | None) -> list[str]:
    """Return the questions of an evaluation file; none without one. Raises OSError or ValueError."""
    if file is None:
        return []
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [str(row["messages"][-1]["content"]) for row in rows if row.get("messages")]


def words(text: str) -> tuple[str, ...]:
    """Return the letters and digits of a text as words, in one form and case."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return tuple("".join(each if each.isalnum() else " " for each in folded).split())


def alike(left: Sequence[str], right: Sequence[str]) -> bool:
    """Return whether two questions have nearly the same words; without spaces between them, the same characters."""
    if tuple(left) == tuple(right):
        return True
    one, two = set(left), set(right)
    if min(len(one), len(two)) < 4:
        one, two = set(" ".join(left)), set(" ".join(right))
        return len(one) > 6 and " ".join(left).replace(" ", "") == " ".join(right).replace(" ", "")
    return len(one & two) >= LIKE * len(one | two)


def _is_correction(rated: Rated) -> bool:
    feedback = rated.message.feedback
    return bool(feedback and feedback.correction.strip())


def _unusable(rated: Rated) -> str:
    feedback = rated.message.feedback
    assert feedback is not None
    if not _is_correction(rated) and feedback.value == "down":
        return "no_correction"
    if not _is_correction(rated) and rated.message.state != "done":
        return "unfinished"
    return ""


def _candidate(rated: Rated, masked: Callable[[str], str]) -> Candidate:
    message, feedback = rated.message, rated.message.feedback
    assert feedback is not None
    served = message.served
    correction = _is_correction(rated)
    return Candidate(
        id=candidate_id(rated),
        person=_hash(rated.user),
        correction=correction,
        turns=tuple({"role": turn["role"], "content": masked(turn["content"])} for turn in rated.turns),
        given=masked(message.content),
        proposed=masked(feedback.correction.strip() if correction else message.content),
        comment=masked(feedback.comment),
        model=f"{served.model} {served.model_version}" if served else message.model,
        at=feedback.at,
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
