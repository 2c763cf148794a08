"""How often the matching of answers agrees with a person: on labelled pairs of answer and reply, by language.

python -m benchmarks.matching [half]
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from evaluation_code.inputs import Question
from evaluation_code.matching import answer_keys, judge

FOLDER = Path(__file__).parent / "data" / "matching"
HALVES = ("read", "kept_apart")


class Pair(NamedTuple):
    """A labelled pair: whether a person calls the reply right, and whether the matching does."""

    language: str
    answers: tuple[str, ...]
    reply: str
    right: bool
    judged: bool


class Score(NamedTuple):
    """Counts of one set of pairs. A wrong accept is a wrong reply that was judged right."""

    pairs: int
    agreed: int
    wrong: int
    wrong_accepts: int

    @property
    def agreement(self) -> float:
        return self.agreed / self.pairs

    @property
    def wrong_accept_share(self) -> float:
        return self.wrong_accepts / self.wrong


def judged_pairs(half: str) -> list[Pair]:
    """The labelled pairs of one half, each judged as an evaluation judges it."""
    pairs = []
    for line in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        (key,) = answer_keys([Question(({"role": "user", "content": "?"},), tuple(row["answers"]))])
        judged = judge(row["reply"], key).right
        pairs.append(Pair(row["language"], tuple(row["answers"]), row["reply"], row["right"], judged))
    return pairs


def score(pairs: list[Pair]) -> Score:
    """The counts of these pairs."""
    wrong = [pair for pair in pairs if not pair.right]
    agreed = sum(pair.right == pair.judged for pair in pairs)
    return Score(len(pairs), agreed, len(wrong), sum(pair.judged for pair in wrong))


def main(halves: tuple[str, ...]) -> None:
    """Print agreement and wrong accepts of each half, in all and by language, and the pairs judged otherwise."""
    for half in halves:
        pairs = judged_pairs(half)
        by_language: dict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            by_language[pair.language].append(pair)
        print(f"{half:<12}{'pairs':>8}{'agreement':>12}{'wrong accepts':>16}")
        for name, some in [("all", pairs), *by_language.items()]:
            found = score(some)
            print(
                f"{name:<12}{found.pairs:>8}{found.agreement:>12.3f}{found.wrong_accepts:>9} of {found.wrong:<4}"
                f"{found.wrong_accept_share:.3f}"
            )
        if half == "read":
            for pair in pairs:
                if pair.right != pair.judged:
                    print(f"  {pair.language} {'right' if pair.right else 'wrong'}: {pair.answers} | {pair.reply}")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or HALVES)
