"""The program: `python -m evaluation_code --base DIR --tuned DIR --test_file FILE --output_dir DIR`."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from evaluation_code.inputs import InputError, read_questions, read_test_rows, rows_unseen_by
from evaluation_code.models import Measured, Subjects, measure_all
from evaluation_code.pipes import progress_log
from evaluation_code.progress import Progress, heartbeat
from evaluation_code.report import build_report, row_results
from serving_code.model_folder import UnsafeModel, UnusableModel

BAD_INPUT = 2  # equals the exit code of argparse
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m evaluation_code",
        description="Score a fine-tuned model against its base and the champion, each as it would be served. Writes "
        "evaluation.json, rows.jsonl and evaluation.png.",
    )
    result.add_argument("--base", type=Path, required=True, help="model folder that the tuned one started from")
    result.add_argument("--tuned", type=Path, required=True, help="model folder to evaluate")
    result.add_argument("--champion", type=Path, help="model folder that is served now")
    result.add_argument(
        "--champion_train_file", type=Path, help="training split of the champion: excluded from its comparison"
    )
    result.add_argument("--champion_test_file", type=Path, help="test split of the champion: also compared separately")
    result.add_argument("--test_file", type=Path, required=True, help="test.jsonl of a published dataset")
    result.add_argument("--questions", type=Path, help='evaluation questions, {"messages", "answers"} a line')
    result.add_argument("--general", type=Path, help="general questions, to measure forgetting")
    result.add_argument("--output_dir", type=Path, required=True, help="folder for the results, created if missing")
    result.add_argument("--seed", type=int, default=0, help="of the bootstrap and of shuffling (default: %(default)s)")
    result.add_argument("--batch_size", type=int, default=16, help="conversations at once (default: %(default)s)")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs an evaluation and returns the exit code: 0, 2 when an input cannot be used, 130 when interrupted."""
    options = parser().parse_args(arguments)
    if options.batch_size < 1:
        parser().error("--batch_size must be at least 1")
    if (options.champion is None) != (options.champion_train_file is None):
        parser().error("--champion and --champion_train_file go together")
    # Must be set before torch is loaded. Threads that spin while they wait for each other made answering seven times
    # slower on two cores shared with other programs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # An error passes through the context manager, which reports it to an orchestrator.
        with progress_log() as log:
            evaluate(options, log)
    except (InputError, UnsafeModel, UnusableModel, OSError) as e:
        print(f"evaluation stopped: {e}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("evaluation stopped: interrupted", file=sys.stderr)
        return INTERRUPTED
    return 0


def evaluate(options: argparse.Namespace, log: Callable[[str], None]) -> dict[str, Any]:
    """Measures, compares and writes the results; evaluation.json comes last, so it exists only if all others do."""
    # Results of an earlier run must not be mistaken for those of this one.
    (options.output_dir / "evaluation.json").unlink(missing_ok=True)
    subjects = Subjects(
        read_test_rows(options.test_file), read_questions(options.questions), read_questions(options.general)
    )
    folders = {"base": options.base, "tuned": options.tuned}
    unseen: list[int] | None = None
    tested: list[int] = []
    if options.champion is not None:
        folders["champion"] = options.champion
        unseen_ids = {row.id for row in rows_unseen_by(subjects.test_rows, options.champion_train_file)}
        unseen = [place for place, row in enumerate(subjects.test_rows) if row.id in unseen_ids]
        if options.champion_test_file is not None:
            tested_ids = {row.id for row in read_test_rows(options.champion_test_file)}
            tested = [place for place, row in enumerate(subjects.test_rows) if row.id in tested_ids]
    progress = Progress(log)
    with heartbeat(progress):
        measured = measure_all(folders, subjects, batch_size=options.batch_size, progress=progress)
        progress.begin("comparing")
        report = build_report(measured, subjects, unseen_by_champion=unseen, tested_champion=tested, seed=options.seed)
        write(report, measured, subjects, options.output_dir)
    for line in summary(report):
        log(line)
    return report


def write(report: dict[str, Any], measured: dict[str, Measured], subjects: Subjects, folder: Path) -> None:
    """Writes the three files into the folder."""
    from evaluation_code.pictures import draw

    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in row_results(measured, subjects)]
    (folder / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    draw(report, folder / "evaluation.png")
    part = folder / "evaluation.json.part"
    part.write_text(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(part, folder / "evaluation.json")


def summary(report: dict[str, Any]) -> list[str]:
    """The result as a few lines of text."""
    lines = []
    for name, model in report["models"].items():
        if model is None:
            continue
        bits = model["bits_per_byte"]
        line = f"{name}: {'not finite' if bits is None else f'{bits:.4f}'} bits per byte"
        if model["questions"]:
            right = model["questions"]["all"]
            line += f", {right['right']} of {right['count']} questions right ({right['share']:.0%})"
            shuffled = model["questions"]["shuffled_share"]
            line += f", shuffled keys {shuffled:.1%}" if shuffled is not None else ""
        kept = model["general_kept"]
        if kept["count"]:
            line += f", {kept['right']} of {kept['count']} general questions kept ({kept['share']:.0%})"
        lines.append(line)
    for other, difference in report["comparisons"].items():
        if difference and difference["difference"] is not None:
            lines.append(
                f"tuned - {other}: {difference['difference']:+.4f} bits per byte, 95% bounds "
                f"{difference['lower']:+.4f} to {difference['upper']:+.4f}, {difference['groups']} groups"
            )
    if report["questions"]["note"]:
        lines.append(report["questions"]["note"])
    return lines


if __name__ == "__main__":
    sys.exit(main())
