"""Preference training of the laptop's fine-tuned model: 60 corrections, 20 of them held out, over several seeds.

python -m benchmarks.preference [seeds]     # after `make run`; PHI_HOME says where

The prompts are general ones that no conversation of the dataset holds. Rejected is what the model answered; chosen is
the first sentence of it and an offer to say more, as a reviewer might shorten it. What the gate measures is measured
before and after: bits per byte of the test split, the evaluation questions and the general ones.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.made import folders
from phi_assets.backends.select import build_resources
from phi_assets.project import PROJECT
from phi_assets.settings import current
from serving_code.engine import Engine, Sampling

PAIRS, HELD_OUT, NEW_TOKENS = 60, 20, 64
OFFER = "Shall I say more?"


def fine_tuned() -> Path:
    """The folder of the fine-tuned model in the home."""
    found = build_resources(current())["io_manager"].latest(dg.AssetKey("fine_tuned_model"))
    if found is None:
        sys.exit("there is no fine-tuned model yet; `make run` makes it, PHI_HOME says where")
    return Path(found.address)


def corrections(model: Path) -> list[dict[str, Any]]:
    """Pairs of prompts and answers as the dataset stores them."""
    lines = (PROJECT / "data" / "general_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    asked = [json.loads(line)["messages"] for line in lines[: 2 * PAIRS]]
    answers = Engine.load(model, dtype="bfloat16").complete(asked, Sampling(max_new_tokens=NEW_TOKENS), rows=16)
    found = []
    for prompt, answer in zip(asked, answers, strict=True):
        given = answer.text.strip()
        first = re.split(r"(?<=[.!?])\s", given)[0]
        if given and first[-1] in ".!?":
            found.append((prompt, f"{first} {OFFER}", given))
    return [
        {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "split": "train" if number < PAIRS - HELD_OUT else "test",
        }
        for number, (prompt, chosen, rejected) in enumerate(found[:PAIRS])
    ]


def preferred(model: Path, dataset: Path, pairs: Path, seed: int, work: Path, options: list[str]) -> dict[str, Any]:
    """Preference training of a model that has learned its conversations; returns what its report says.

    The stage alone: fine_tune.py would train on the conversations first.
    """
    from training_code import results
    from training_code.model import load_model, load_tokenizer, stop_ids
    from training_code.pairs import load_pairs
    from training_code.pipes import Terminal
    from training_code.preference import prefer
    from training_code.settings import settings_from

    settings = settings_from(
        [
            "--config=laptop",
            "--preference=dpo",
            f"--base_model={model}",
            f"--train_file={dataset / 'train.jsonl'}",
            f"--validation_file={dataset / 'validation.jsonl'}",
            f"--preference_file={pairs}",
            f"--output_dir={work / 'checkpoints'}",
            f"--seed={seed}",
            *options,
        ]
    )
    tokenizer = load_tokenizer(model)
    loaded: Any = load_model(settings)
    began = time.perf_counter()
    tokens = load_pairs(settings, tokenizer, stop_ids(model, tokenizer), settings.max_length)
    report = prefer(settings, loaded, tokenizer, tokens, Terminal(), "benchmark")
    report |= {"seconds": time.perf_counter() - began, "pairs": tokens.counts(), "tokens": tokens.tokens}
    results.save_model(loaded, model, work / "model")
    shutil.rmtree(work / "checkpoints")
    return report


def gate(base: Path, tuned: Path, dataset: Path, work: Path) -> dict[str, Any]:
    """What the gate reads, of the model before (as base) and after."""
    arguments = [f"--base={base}", f"--tuned={tuned}", f"--test_file={dataset / 'test.jsonl'}", f"--output_dir={work}"]
    files = [
        f"--questions={PROJECT / 'data/support/evaluation.jsonl'}",
        f"--general={PROJECT / 'data/general_questions.jsonl'}",
    ]
    subprocess.run([sys.executable, "-m", "evaluation_code", *arguments, *files], check=True, cwd=PROJECT)
    return json.loads((work / "evaluation.json").read_text(encoding="utf-8"))


def main(seeds: int, options: list[str]) -> None:
    """Print a line for each seed."""
    _, dataset = folders()
    model = fine_tuned()
    with tempfile.TemporaryDirectory(prefix="preference-") as name:
        work = Path(name)
        file = work / "pairs.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in corrections(model)), encoding="utf-8")
        for seed in range(seeds):
            found = preferred(model, dataset, file, seed, work / str(seed), options)
            report = gate(model, work / str(seed) / "model", dataset, work / str(seed) / "evaluation")
            print(json.dumps({"seed": seed, **{name: value for name, value in found.items() if name != "losses"}}))
            print(json.dumps(report["models"]), json.dumps(report["comparisons"]["base"]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2:])
