"""Preparing conversations, against the guide's script on the same rows: rows a CPU second, and memory.

python -m benchmarks.preparation [rows] [folder]     # 200,000 rows by default; each way in a process of its own
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS, TEMPLATE_ROWS = 200_000, 30_000
PROMPTS = Path(__file__).parent.parent / "data" / "general_prompts.jsonl"


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Conversations of one to three questions, about a kilobyte each; one turn in twenty has personal data."""
    draw = random.Random(3)
    words = [word for word in PROMPTS.read_text(encoding="utf-8").replace('"', " ").split() if word.isalpha()]
    rare = sorted(set(words))

    def text(length: int) -> str:
        return " ".join(draw.choices(words if draw.random() < 0.7 else rare, k=length)).capitalize() + "."

    last: dict[str, Any] = {}
    for number in range(count):
        turns = []
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            kind = draw.random()
            personal = f" My address is user{number}@example.com." if kind < 0.03 else ""
            personal = f" Call +1 415 555 {draw.randrange(10**4):04}." if 0.03 <= kind < 0.05 else personal
            turns.append({"role": "user", "content": text(draw.randint(6, 40)) + personal})
            turns.append({"role": "assistant", "content": text(draw.randint(20, 120))})
        again = last and draw.random() < 0.03
        last = last if again else {"messages": turns}
        yield last


def of_a_template(count: int) -> Iterator[dict[str, Any]]:
    """Rows of one template, most pairs of them a little less alike than near duplicates are."""
    draw = random.Random(5)
    for _ in range(count):
        words = [f"word{number}" for number in range(100)]
        for _ in range(3):
            words[draw.randrange(100)] = str(draw.randrange(10**6))
        turns = [{"role": "user", "content": " ".join(words)}, {"role": "assistant", "content": "Done."}]
        yield {"messages": turns}


def the_guide(file: Path, folder: Path) -> dict[str, float]:
    """What the guide's download_dataset.py does with a dataset: load, split at random, write JSON Lines."""
    import datasets

    datasets.disable_progress_bars()
    began = time.process_time()
    both = datasets.load_dataset("json", data_files=str(file), split="train", cache_dir=str(folder / "cache"))
    for name, side in both.train_test_split(test_size=0.2).items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as written:
            for row in side:
                json.dump(row, written)
                written.write("\n")
    return {"all": time.process_time() - began}


def ours(file: Path, folder: Path, **options: Any) -> dict[str, float]:
    """CPU seconds of reading and cleaning, finding near duplicates and splitting, and writing a version."""
    from phi_assets.backends.dataset_versions import DatasetFolders
    from phi_assets.conversations.options import CleaningOptions
    from phi_assets.conversations.prepare import prepare
    from phi_assets.conversations.sources.address import FileSource
    from phi_assets.conversations.sources.feeds import Scan, pieces_of

    scans = [Scan(str(file), pieces_of(FileSource(file)))]
    began, read = time.process_time(), 0.0

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal read
        read = time.process_time() if stage == "read" else read

    made = prepare(scans, CleaningOptions(**options), {}, progress, folder)
    split = time.process_time()
    DatasetFolders(folder / "versions").publish(made.split.rows, made.quarantine, made.facts, made.preferences)
    end = time.process_time()
    return {"read": read - began, "split": split - read, "write": end - split, "all": end - began}


WAYS: dict[str, Any] = {
    "guide": the_guide,
    "unmasked": lambda file, folder: ours(file, folder, personal_data="keep"),
    "masked": ours,
}


def measured(way: str, file: Path) -> dict[str, float]:
    """The result of a way in a process of its own, with its peak of memory in MB."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, "-m", "benchmarks.preparation", way, str(file), folder]
        return json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )


def written(file: Path, made: Iterator[dict[str, Any]]) -> Path:
    with file.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in made)
    return file


def show(count: int, folder: Path) -> None:
    """Print a line for each way."""
    file = written(folder / "rows.jsonl", rows(count))
    print(f"{count:,} conversations, {file.stat().st_size / 1e6:,.0f} MB", flush=True)
    guide = measured("guide", file)
    speed = count / guide["all"]
    print(f"guide      {speed:8,.0f} rows a CPU second; peak {guide['mb']:,.0f} MB", flush=True)
    for way in ("unmasked", "masked"):
        found = measured(way, file)
        plain = count / (found["read"] + found["write"])
        print(
            f"{way:9}  {plain:8,.0f} reading, normalising and writing ({plain / speed:.2f} of the guide's); "
            f"near duplicates and splits too: {found['all']:.0f} s of CPU; peak {found['mb']:,.0f} MB",
            flush=True,
        )
    found = measured("unmasked", written(file, of_a_template(TEMPLATE_ROWS)))
    print(f"{TEMPLATE_ROWS:,} rows of one template: {found['all']:.0f} s of CPU; peak {found['mb']:,.0f} MB")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        result = WAYS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
        print(json.dumps({**result, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
    else:
        count = int(sys.argv[1].replace(",", "")) if sys.argv[1:] else ROWS
        with tempfile.TemporaryDirectory(dir=sys.argv[2] if sys.argv[2:] else None) as folder:
            show(count, Path(folder))
