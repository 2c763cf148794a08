"""How much personal data is masked, and how often something else is: on labelled texts, by kind and by language.

python -m benchmarks.masking [half]
"""

import json
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from evaluation_code.intervals import wilson
from phi_assets.conversations.personal_data import mask

FOLDER = Path(__file__).parent / "data" / "masking"
HALVES = ("read", "kept_apart")


class Text(NamedTuple):
    """A labelled text: with a value to mask or without, and whether it was masked as its kind, or at all."""

    kind: str
    language: str
    text: str
    has_value: bool
    masked: str
    found: bool


class Score(NamedTuple):
    """Counts: values masked as their kind of all values, and of the texts that were changed those that have a value."""

    found: int
    values: int
    wrong: int

    @property
    def recall(self) -> float:
        return self.found / self.values

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.wrong)


def masked_texts(half: str) -> list[Text]:
    """The labelled texts of one half, each masked as data preparation masks it."""
    texts = []
    for line in (FOLDER / f"{half}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        masked = mask(row["text"]).text
        if row["value"] is None:
            found = masked != row["text"]
        else:
            found = f"<{row['kind']}>" in masked and row["value"] not in masked
        texts.append(Text(row["kind"], row["language"], row["text"], row["value"] is not None, masked, found))
    return texts


def score(texts: list[Text]) -> Score:
    """The counts of these texts."""
    values = [text for text in texts if text.has_value]
    return Score(
        sum(text.found for text in values), len(values), sum(text.found for text in texts if not text.has_value)
    )


def main(halves: tuple[str, ...]) -> None:
    """Print recall and precision with their lower 95% bounds, in all, by kind and by language."""
    for half in halves:
        texts = masked_texts(half)
        print(f"{half:<20}{'values':>8}{'recall':>9}{'lower':>8}{'precision':>11}{'lower':>8}")
        keys: tuple[Callable[[Text], str], ...] = (lambda t: "all", lambda t: t.kind, lambda t: t.language)
        for key in keys:
            groups: dict[str, list[Text]] = defaultdict(list)
            for text in texts:
                groups[key(text)].append(text)
            for name, some in groups.items():
                found = score(some)
                recall, precision = wilson(found.found, found.values), wilson(found.found, found.found + found.wrong)
                print(
                    f"{name:<20}{found.values:>8}{found.recall:>9.3f}{recall.lower or 0:>8.3f}"
                    f"{found.precision:>11.3f}{precision.lower or 0:>8.3f}"
                )
        if half == "read":
            for text in texts:
                if text.has_value != text.found:
                    print(f"  {text.kind} {'missed' if text.has_value else 'wrong'}: {text.text} -> {text.masked}")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or HALVES)
