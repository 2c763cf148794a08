"""Writes the replay set of a base model: conversations on which training holds the model to its base.

    python -m evaluation_code.replay --base DIR --sources prompts.jsonl own.jsonl=2 --general FILE --output_dir DIR

A conversation of a source that ends in a user turn gets the base's own greedy answer (rehearsal); others are taken as
they are. What shares an answer or a question with the general questions is left out: they measure what training
forgets. Writes replay.jsonl and, last, replay.json. Exit codes: 0; 2 for an input that cannot be used; 130.
"""

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation_code.__main__ import BAD_INPUT, INTERRUPTED
from evaluation_code.apart import Apart
from evaluation_code.inputs import InputError, Message, read_conversations, read_questions
from evaluation_code.pipes import progress_log
from evaluation_code.progress import Progress, heartbeat
from serving_code.model_folder import UnsafeModel, UnusableModel

if TYPE_CHECKING:
    from serving_code.engine import Engine

REPLAY, REPORT = "replay.jsonl", "replay.json"
# An answer is cut there: what is replayed is the base's choice of each next word, so an end is not needed.
MAX_NEW_TOKENS = 48
AT_ONCE, ROWS = 128, 32


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m evaluation_code.replay",
        description="Write the replay set of a base model. Writes replay.jsonl and replay.json.",
    )
    result.add_argument("--base", type=Path, required=True, help="model folder of the base")
    result.add_argument(
        "--sources", nargs="+", required=True, metavar="FILE[=WEIGHT]", help="JSON Lines of conversations or of prompts"
    )
    result.add_argument("--general", type=Path, help="general questions, from which the set stays apart")
    result.add_argument("--conversations", type=int, default=400, help="size of the set (default: %(default)s)")
    result.add_argument("--seed", type=int, default=0, help="of the order of each source (default: %(default)s)")
    result.add_argument("--output_dir", type=Path, required=True, help="folder for the results, created if missing")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a replay set and return the exit code."""
    options = parser().parse_args(arguments)
    # As in the evaluation: threads that spin while they wait are slow on cores shared with other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with progress_log() as log:
            write(options, log)
    except (InputError, UnsafeModel, UnusableModel, OSError) as e:
        print(f"replay stopped: {e}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("replay stopped: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


@dataclass
class Source:
    """One source: its conversations in the order in which they are tried, and what became of them."""

    path: Path
    wanted: int
    conversations: list[tuple[Message, ...]]
    kept: int = 0
    answered: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.path.name,
            "conversations": len(self.conversations),
            "wanted": self.wanted,
            "kept": self.kept,
            "answered_by_base": self.answered,
            "left_out": dict(sorted(self.left_out.items())),
        }


def write(options: argparse.Namespace, log: Callable[[str], None]) -> dict[str, Any]:
    """Write the set into `options.output_dir` and return its report. A set may be empty: the report says why."""
    (options.output_dir / REPORT).unlink(missing_ok=True)
    sources = read_sources(options.sources, options.conversations, options.seed)
    apart = Apart(read_questions(options.general))
    progress = Progress(log)
    rows: list[dict[str, Any]] = []
    with heartbeat(progress):
        for source in sources:
            progress.begin(f"{source.path.name}: {source.wanted} conversations for replay")
            rows += chosen(source, apart, options.base, progress)
    report = {"conversations": len(rows), "sources": [each.as_json() for each in sources]}
    options.output_dir.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (options.output_dir / REPLAY).write_text(text, encoding="utf-8")
    part = options.output_dir / f"{REPORT}.part"
    part.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    os.replace(part, options.output_dir / REPORT)
    log(f"{len(rows)} conversations for replay, {sum(each.answered for each in sources)} answered by the base")
    for each in sources:
        if each.left_out:
            log(f"{each.path.name}: left out {', '.join(f'{n} ({why})' for why, n in sorted(each.left_out.items()))}")
    return report


def read_sources(named: Sequence[str], conversations: int, seed: int) -> list[Source]:
    """The sources of the command line, each with its part of the set by weight. Raises InputError."""
    weighted = [_weighted(each) for each in named]
    total = sum(weight for _, weight in weighted)
    sources = []
    for path, weight in weighted:
        found = read_conversations(path)
        random.Random(seed).shuffle(found)
        sources.append(Source(path, round(conversations * weight / total), found))
    return sources


def _weighted(named: str) -> tuple[Path, float]:
    path, equals, weight = named.rpartition("=")
    if not equals or Path(named).exists():
        return Path(named), 1.0
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(f"{named}: the weight after = must be a number above 0")
    return Path(path), number


def chosen(source: Source, apart: Apart, base: Path, progress: Progress) -> Iterator[dict[str, Any]]:
    """The source's rows of the set, until there are as many as wanted."""
    engine: Engine | None = None
    for start in range(0, len(source.conversations), AT_ONCE):
        some = source.conversations[start : start + AT_ONCE]
        some = [messages for messages in some if not _conflict(source, apart, messages)]
        open_ended = [messages for messages in some if messages[-1]["role"] == "user"]
        if open_ended and engine is None:
            engine = _engine(base)
        replies = dict(zip(map(id, open_ended), _answers(engine, open_ended), strict=True)) if engine else {}
        for messages in some:
            turns = [dict(message) for message in messages]
            if id(messages) in replies:
                reply: Message = {"role": "assistant", "content": replies[id(messages)]}
                if not reply["content"].strip():
                    source.left_out["the base answers nothing"] += 1
                    continue
                if _conflict(source, apart, [reply]):
                    continue
                turns.append(dict(reply))
                source.answered += 1
            source.kept += 1
            yield {"messages": turns, "source": source.path.name}
            if source.kept >= source.wanted:
                return
        progress.done(source.kept, source.wanted)


def _conflict(source: Source, apart: Apart, messages: Sequence[Message]) -> bool:
    reason = apart.conflict(messages)
    if reason:
        source.left_out["holds an answer" if reason.startswith("holds") else "asks a question"] += 1
    return bool(reason)


def _engine(base: Path) -> "Engine":
    from transformers.utils import logging as transformers_logging

    from serving_code.engine import Engine

    transformers_logging.disable_progress_bar()
    return Engine.load(base)


def _answers(engine: "Engine | None", conversations: Sequence[tuple[Message, ...]]) -> list[str]:
    from serving_code.engine import Sampling

    if engine is None or not conversations:
        return []
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, temperature=0.0)
    return [completion.text for completion in engine.complete(list(conversations), sampling, rows=ROWS)]


if __name__ == "__main__":
    sys.exit(main())
