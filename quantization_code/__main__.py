"""The program: `python -m quantization_code MODEL_FOLDER --form int8 --test_file FILE --output_dir FOLDER`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from evaluation_code.inputs import InputError, read_conversations, read_questions, read_test_rows
from evaluation_code.pipes import progress_log
from evaluation_code.progress import Progress, heartbeat
from quantization_code.blocks import Bits
from quantization_code.errors import CannotQuantize
from serving_code.model_folder import UnsafeModel, UnusableModel

BAD_INPUT = 2  # equals the exit code of argparse
FORMS: dict[str, Bits] = {"int8": 8, "int4": 4}
REPORT = "quantization.json"
INSTALL = "pip install 'phi-assets[quantize]'"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="python -m quantization_code",
        description="Write a model with int8 or int4 weights for onnxruntime, and measure how far it is from the full "
        f"model. Writes the folder of a model that serving_code serves, and {REPORT}.",
        allow_abbrev=False,
    )
    result.add_argument("model", type=Path, help="folder of a trained model")
    result.add_argument("--form", choices=sorted(FORMS), required=True, help="numbers that the weights become")
    result.add_argument("--test_file", type=Path, required=True, help="test.jsonl of a published dataset")
    result.add_argument("--train_file", type=Path, help="train.jsonl, to measure the spread of activations on")
    result.add_argument("--questions", type=Path, help='evaluation questions, {"messages", "answers"} a line')
    result.add_argument("--general", type=Path, help="general questions, whose answers are compared token by token")
    result.add_argument("--output_dir", type=Path, required=True, help="folder for the results, created if missing")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Quantise, and return the exit code: 0, or 2 with the reason on stderr."""
    options = parser().parse_args(arguments)
    # Must be set before torch is loaded; see serving_code.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with progress_log("quantisation") as log:
            quantize(options, log)
    except (CannotQuantize, InputError, UnsafeModel, UnusableModel, OSError) as e:
        print(f"quantisation stopped: {e}", file=sys.stderr)
        return BAD_INPUT
    return 0


def quantize(options: argparse.Namespace, log: Callable[[str], None]) -> None:
    """Write the model, measure it, and write the report, which comes last."""
    require_packages()
    from quantization_code import folder
    from quantization_code.measure import Subjects, measure

    subjects = Subjects(
        read_test_rows(options.test_file), read_questions(options.questions), read_questions(options.general)
    )
    progress = Progress(log)
    with heartbeat(progress):
        progress.begin(f"writing the model in {options.form}")
        seen = read_conversations(options.train_file) if options.train_file else []
        folder.write(options.model, options.output_dir, FORMS[options.form], seen)
        report = measure(options.model, options.output_dir, subjects, progress)
    report = {"form": options.form, **report}
    log(
        f"{options.form}: the likeliest token agrees for {report['agreement']:.2%} of {report['tokens']:,} answer "
        f"tokens, KL divergence {report['kl']:.5f}, bits per byte {report['bits_change']:+.3%}"
    )
    text = json.dumps(report, indent=2, allow_nan=False) + "\n"
    (options.output_dir / REPORT).write_text(text, encoding="utf-8")


def require_packages() -> None:
    """Raises CannotQuantize, with the command that installs what is missing."""
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise CannotQuantize(f"PHI_QUANTIZE needs {' and '.join(missing)}, not installed here: {INSTALL}")


if __name__ == "__main__":
    sys.exit(main())
