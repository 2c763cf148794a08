"""Write data/support/conversations.jsonl and data/new_product/conversations.jsonl from the fact base:
`python -m data.make_support`, from the repository root.

The same facts, wordings and seed give the same bytes. Uses only Python's standard library.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from random import Random

from data.facts import (
    Fact,
    Link,
    Scene,
    load_facts,
    load_general,
    load_links,
    load_new_product,
    load_scenes,
    same_model_questions,
)
from data.wordings import CHANGES_OF_SUBJECT, as_someone_would_write

Messages = list[dict[str, str]]

SEED = 9
CONVERSATIONS = 300
NEW_CONVERSATIONS = 50  # about the new product
SINGLES = 2  # conversations of one turn that every fact gets
MAX_TURNS = 4
SAVED_AS = "file to write (default: %(default)s)"
GOES_ON = 0.5  # chance of a further turn after each follow-up, while there is an unused one


@dataclass
class Writer:
    """Writes conversations, and uses every wording once before it repeats one."""

    facts: dict[str, Fact]
    rng: Random
    questions: dict[str, Iterator[str]] = field(init=False)
    statements: dict[str, Iterator[str]] = field(init=False)
    told: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        self.questions = {key: cycle(self._shuffled(fact.questions)) for key, fact in self.facts.items()}
        self.statements = {key: cycle(fact.statements) for key, fact in self.facts.items()}
        self.told = Counter(dict.fromkeys(self.facts, 0))

    def turn(self, key: str, question: str, *, first: bool = False) -> Messages:
        """A user's question for the fact and the assistant's answer, in the fact's next sentence."""
        self.told[key] += 1
        asked = as_someone_would_write(question, self.rng, first=first)
        return exchange(asked, next(self.statements[key]))

    def opening(self, key: str) -> Messages:
        """A first turn: the fact's next unused question, and its answer."""
        return self.turn(key, next(self.questions[key]), first=True)

    def chain(self, link: Link, unused: list[Link]) -> Messages:
        """A conversation of two to four turns that opens with the link's source; takes further links from `unused`."""
        messages = self.opening(link.source) + self.turn(link.target, link.question)
        told = {link.source, link.target}
        here = link.target
        while len(messages) < 2 * MAX_TURNS and self.rng.random() < GOES_ON:
            onward = next((other for other in unused if other.source == here and other.target not in told), None)
            if onward is None:
                break
            unused.remove(onward)
            messages += self.turn(onward.target, onward.question)
            told.add(onward.target)
            here = onward.target
        return messages

    def scene(self, scene: Scene, target: str) -> Messages:
        """A conversation whose first turn sets the scene and whose second asks for `target`."""
        attribute = target.rsplit("_", 1)[0]
        followups = same_model_questions().get(attribute) or [
            link.question for link in load_links() if link.target == target
        ]
        return exchange(scene.user, scene.assistant) + self.turn(target, self.rng.choice(followups))

    def medley(self) -> Messages:
        """A conversation of two to four turns, each about another fact: the least used so far."""
        candidates = sorted(self.facts, key=lambda key: (self.told[key], self.rng.random()))
        first, *others = candidates[: self.rng.randint(2, MAX_TURNS)]
        messages = self.opening(first)
        for key in others:
            words = (self.rng.choice(CHANGES_OF_SUBJECT), next(self.questions[key]))
            messages += self.turn(key, " ".join(words).strip())
        return messages

    def _shuffled(self, texts: tuple[str, ...]) -> list[str]:
        return self.rng.sample(texts, len(texts))


def exchange(user: str, assistant: str) -> Messages:
    """One turn."""
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def in_turns(texts: list[str]) -> Messages:
    """Alternating questions and answers as messages."""
    return [message for i in range(0, len(texts), 2) for message in exchange(texts[i], texts[i + 1])]


def make_conversations(seed: int = SEED, count: int = CONVERSATIONS) -> list[Messages]:
    """`count` conversations in a shuffled order: general ones, every scene and link, single questions, then medleys."""
    rng = Random(seed)
    writer = Writer(load_facts(), rng)
    unused = load_links()
    rng.shuffle(unused)
    conversations = [in_turns(row) for row in load_general()]
    conversations += [writer.scene(scene, target) for scene in load_scenes() for target in scene.targets]
    while unused:
        conversations.append(writer.chain(unused.pop(), unused))
    conversations += [writer.opening(key) for _ in range(SINGLES) for key in writer.facts]
    while len(conversations) < count:
        conversations.append(writer.medley())
    rng.shuffle(conversations)
    return conversations


def make_new_conversations(seed: int = SEED) -> list[Messages]:
    """NEW_CONVERSATIONS about the new product in a shuffled order: every question alone, then medleys."""
    rng = Random(seed)
    writer = Writer(load_new_product(), rng)
    conversations = [writer.opening(key) for key, fact in writer.facts.items() for _ in fact.questions]
    while len(conversations) < NEW_CONVERSATIONS:
        conversations.append(writer.medley())
    rng.shuffle(conversations)
    return conversations


def write(path: Path, conversations: list[Messages]) -> None:
    """Replace `path` with one JSON object a line, `{"messages": [...]}`, UTF-8, in the given order."""
    lines = [json.dumps({"messages": messages}, ensure_ascii=False) + "\n" for messages in conversations]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).parent
    parser.add_argument("--output", type=Path, default=here / "support" / "conversations.jsonl", help=SAVED_AS)
    parser.add_argument("--new-output", type=Path, default=here / "new_product" / "conversations.jsonl", help=SAVED_AS)
    parser.add_argument("--seed", type=int, default=SEED, help="default: %(default)s")
    parser.add_argument("--count", type=int, default=CONVERSATIONS, help="conversations (default: %(default)s)")
    options = parser.parse_args()
    for output, conversations in (
        (options.output, make_conversations(options.seed, options.count)),
        (options.new_output, make_new_conversations(options.seed)),
    ):
        write(output, conversations)
        turns = sum(len(messages) for messages in conversations) // 2
        print(f"{len(conversations)} conversations, {turns} turns: {output}")


if __name__ == "__main__":
    main()
