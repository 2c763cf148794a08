"""Whether the gates are fair to the default recipe: trained with several seeds and precisions, each judged by each.

    python -m benchmarks.gates --home .phi/local --seeds 0 1 2 3 4 --precisions bf16-autocast fp32 [--work FOLDER]

Needs a home in which `phi run` has made the dataset, the base model and what is replayed. Prints, for every model, the
promotion rules that it fails, the share of general questions kept and the evaluation questions right; then which of
the ordered pairs of models refuse each other as champion. A training takes some ten minutes on two cores; models in
the work folder that are complete are not trained again.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from evaluation_code.inputs import read_questions, read_test_rows
from evaluation_code.models import Measured, Subjects, measure_all
from evaluation_code.progress import Progress
from evaluation_code.report import build_report
from phi_assets.models.promotion_rules import DEFAULT_RULES, decide
from phi_assets.project import PROJECT

DATA = PROJECT / "data"


class Made(NamedTuple):
    """Folders of what a home has made: base model, dataset, replay set."""

    base: Path
    dataset: Path
    replay: Path | None


def newest(root: Path, name: str) -> Path:
    """The newest folder below `root` that has a file of this name. Raises SystemExit when there is none."""
    found = sorted(root.glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f"{root} has no {name}: run `phi run` with this home first")
    return found[-1].parent


def made_in(home: Path) -> Made:
    """What the home has made."""
    replay = newest(home / "replay", "replay.jsonl") if (home / "replay").is_dir() else None
    return Made(newest(home / "base_models", "config.json"), newest(home / "datasets", "train.jsonl"), replay)


def train(made: Made, preset: str, seed: int, precision: str, folder: Path) -> Path:
    """Train one model into `folder`, unless it is there; return the model's folder."""
    arguments = [
        *(f"--config={preset}", f"--seed={seed}", f"--precision={precision}"),
        *(f"--base_model={made.base}", f"--output_dir={folder}"),
        *(f"--train_file={made.dataset / 'train.jsonl'}", f"--validation_file={made.dataset / 'validation.jsonl'}"),
        *([f"--replay_file={made.replay / 'replay.jsonl'}"] if made.replay else []),
    ]
    subprocess.run([sys.executable, "-m", "training_code.fine_tune", *arguments], cwd=PROJECT, check=True)
    return folder / "model"


def report(
    measured: dict[str, Measured], subjects: Subjects, tuned: str, champion: str | None = None
) -> dict[str, Any]:
    """The evaluation report of one model against the base, and against another as champion."""
    chosen = {"base": measured["base"], "tuned": measured[tuned]}
    if champion is None:
        return build_report(chosen, subjects, unseen_by_champion=None, seed=0)
    # All were trained on the same split, so none has seen a test row.
    places = range(len(subjects.test_rows))
    chosen["champion"] = measured[champion]
    return build_report(chosen, subjects, unseen_by_champion=list(places), tested_champion=list(places), seed=0)


def refusals(found: dict[str, Any]) -> list[str]:
    """The promotion rules that the report fails."""
    return [name for name, outcome in decide(found, DEFAULT_RULES).items() if not outcome.passed]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gates", description=__doc__.partition("\n")[0])
    parser.add_argument("--home", type=Path, default=Path(".phi/local"), help="a home's local folder")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--precisions", nargs="+", default=["bf16-autocast", "fp32"])
    parser.add_argument("--work", type=Path, default=Path("build/gates"), help="folder of the trained models")
    options = parser.parse_args()

    made = made_in(options.home)
    folders = {"base": made.base}
    for precision, seed in itertools.product(options.precisions, options.seeds):
        name = f"{precision} seed {seed}"
        folders[name] = train(made, options.preset, seed, precision, (options.work / f"{precision}-{seed}").resolve())
    subjects = Subjects(
        read_test_rows(made.dataset / "test.jsonl"),
        read_questions(DATA / "support" / "evaluation.jsonl"),
        read_questions(DATA / "general_questions.jsonl"),
    )
    measured = measure_all(folders, subjects, batch_size=16, progress=Progress(print))
    names = [name for name in folders if name != "base"]
    kept, failed, refused = [], 0, []
    print(f"\n{'model':<24} {'kept':>18} {'bound':>6} {'gained':>6} {'right':>9} {'bits':>7}  fails")
    for name in names:
        found = report(measured, subjects, name)
        model, wrong = found["models"]["tuned"], refusals(found)
        general, right = model["general_kept"], model["questions"]["all"]
        kept.append(general["share"])
        failed += bool(wrong)
        print(
            f"{name:<24} {general['right']:>5} of {general['count']} {general['share']:>6.1%} {general['lower']:>6.1%} "
            f"{model['general_gained']:>6} {right['right']:>3} of {right['count']} {model['bits_per_byte']:>7.4f}  "
            f"{', '.join(wrong) or 'nothing'}"
        )
    for tuned, champion in itertools.permutations(names, 2):
        if wrong := refusals(report(measured, subjects, tuned, champion)):
            refused.append({"tuned": tuned, "champion": champion, "fails": wrong})
            print(f"refused: {tuned} with {champion} as champion: {', '.join(wrong)}")
    pairs = len(names) * (len(names) - 1)
    print(
        f"\n{len(names) - failed} of {len(names)} models pass every gate; mean share kept {sum(kept) / len(kept):.1%}"
    )
    print(f"{pairs - len(refused)} of {pairs} ordered pairs accept each other")
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / "gates.json").write_text(
        json.dumps({"kept": dict(zip(names, kept, strict=True)), "refused": refused}, indent=2) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
