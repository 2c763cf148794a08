"""Training on a processor, in tokens a CPU second: ours, trl with the same work, and trl and the guide as they come.

python -m benchmarks.training [--turns 3] [--steps 20] [--guide-length 256]    # after `make run`; PHI_HOME says where

Each way trains the base model of `make run` on its dataset in a process of its own, one after the other, as many times
as there are turns; the first steps of each only warm up. Tokens are those of conversations, without padding; loading,
preparing and saving do not count. "Same work" has the same packed rows in the same order, weights, precision and loss:
the run ends with an error when the losses differ. The others get rows as they make them, until they have seen about as
many tokens.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.made import folders

PRESET, WARM_UP = "laptop", 3
SAME_LOSS = 0.02  # the greatest share by which the losses of "same work" may differ
OURS, SAME, DEFAULTS, GUIDE = "ours", "trl, same work", "trl, defaults", "the guide's settings"


def settings_of(base: Path, data: Path, place: Path) -> Any:
    """The preset's settings, without replay, of which trl has none."""
    from training_code import settings

    values = settings.read_preset(PRESET) | {
        "base_model": base,
        "train_file": data / "train.jsonl",
        "validation_file": data / "validation.jsonl",
        "output_dir": place,
        "replay_share": 0.0,
        "early_stopping_patience": 0,
    }
    return settings.build(values, "the benchmark")


def packed_rows(settings: Any, tokenizer: Any) -> Any:
    from training_code.data import as_dataset, load_rows
    from training_code.model import stop_ids

    stops = stop_ids(settings.base_model, tokenizer)
    rows = load_rows(settings.train_file, tokenizer, stops, settings.max_length, 1.0).rows
    return as_dataset(rows, packing=True, packed_length=settings.packed_length, seed=0)


def counted(trainer: Any, steps: int) -> dict[str, float]:
    """Train, and return tokens, CPU seconds and the mean loss of the steps after the warm-up."""
    from transformers import TrainerCallback

    class Meter(TrainerCallback):
        began = (0.0, 0)

        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if state.global_step == WARM_UP:
                self.began = cpu_seconds(), int(state.num_input_tokens_seen)

    meter = Meter()
    trainer.add_callback(meter)
    trainer.args.max_steps = WARM_UP + steps
    trainer.args.eval_strategy = trainer.args.save_strategy = "no"
    trainer.args.load_best_model_at_end = False
    trainer.train()
    seconds, tokens = cpu_seconds() - meter.began[0], int(trainer.state.num_input_tokens_seen) - meter.began[1]
    losses = [each["loss"] for each in trainer.state.log_history if "loss" in each][WARM_UP:]
    return {"tokens": tokens, "seconds": seconds, "loss": statistics.fmean(losses)}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def ours(base: Path, data: Path, place: Path, steps: int, length: int) -> dict[str, float]:
    from training_code import process
    from training_code.model import load_model, load_tokenizer
    from training_code.trainer import make_trainer

    del length
    settings = settings_of(base, data, place)
    process.prepare(settings)
    tokenizer = load_tokenizer(base)
    rows = packed_rows(settings, tokenizer)
    return counted(make_trainer(settings, load_model(settings), tokenizer, rows, rows.select([0]), []), steps)


def same_work(base: Path, data: Path, place: Path, steps: int, length: int) -> dict[str, float]:
    """trl's own trainer and attention: the same rows, trained weights, precision and optimizer."""
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

    from training_code import process
    from training_code.model import freeze, load_tokenizer
    from training_code.trainer import arguments

    del length
    settings = settings_of(base, data, place)
    process.prepare(settings)
    tokenizer = load_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32", attn_implementation="sdpa")
    freeze(model, settings.frozen)
    rows = packed_rows(settings, tokenizer)
    trainer = SFTTrainer(
        model=model,
        args=arguments(settings, WARM_UP + steps),
        data_collator=DataCollatorForLanguageModeling(pad_token_id=int(tokenizer.pad_token_id or 0), padding_free=True),
        train_dataset=rows,
        eval_dataset=rows.select([0]),
        processing_class=tokenizer,
    )
    return counted(trainer, steps)


def conversations(data: Path) -> Any:
    from datasets import Dataset

    lines = (data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [
        [{"role": each["role"], "content": each["content"]} for each in json.loads(line)["messages"]] for line in lines
    ]
    return Dataset.from_list([{"messages": each} for each in turns])


def defaults(base: Path, data: Path, place: Path, steps: int, length: int) -> dict[str, float]:
    """What a short script with trl does: every weight, eight padded conversations a step, checkpointing."""
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    del length
    arguments = SFTConfig(output_dir=str(place), use_cpu=True, **QUIET)
    return counted(SFTTrainer(model=str(base), args=arguments, train_dataset=conversations(data)), steps)


def guide(base: Path, data: Path, place: Path, steps: int, length: int) -> dict[str, float]:
    """The settings of the guide's script, one row at a time where it has four: eager attention, bf16, checkpointing."""
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16, attn_implementation="eager")
    arguments = SFTConfig(
        output_dir=str(place),
        use_cpu=True,
        packing=True,
        packing_strategy="wrapped",
        max_length=length,
        per_device_train_batch_size=1,
        learning_rate=5e-6,
        lr_scheduler_type="cosine",
        gradient_checkpointing=True,
        **QUIET,
    )
    return counted(SFTTrainer(model=model, args=arguments, train_dataset=conversations(data)), steps)


QUIET: dict[str, Any] = {
    "logging_steps": 1,
    "include_num_input_tokens_seen": "non_padding",
    "report_to": "none",
    "disable_tqdm": True,
    "seed": 0,
    "dataloader_pin_memory": False,
}
WAYS: dict[str, Callable[[Path, Path, Path, int, int], dict[str, float]]] = {
    OURS: ours,
    SAME: same_work,
    DEFAULTS: defaults,
    GUIDE: guide,
}


def measured(way: str, steps: int, length: int) -> dict[str, float]:
    """The numbers of a way, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", "--way", way, "--steps", str(steps)]
    command += ["--guide-length", str(length)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{way}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def steps_for(way: str, steps: int, length: int) -> int:
    """Steps with about as many tokens as ours have; eight conversations of trl's default are some 600 tokens."""
    per_step = {OURS: 256, SAME: 256, DEFAULTS: 600, GUIDE: length}[way]
    return max(2, round(steps * 256 / per_step))


def main(turns: int, steps: int, length: int) -> None:
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for turn in range(turns):
        for way in WAYS:
            found[way].append(measured(way, steps_for(way, steps, length), length))
            print(f"turn {turn + 1}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    losses = [statistics.fmean(each["loss"] for each in found[way]) for way in (OURS, SAME)]
    if abs(losses[0] / losses[1] - 1) > SAME_LOSS:
        sys.exit(f"the work is not the same: a loss of {losses[0]:.4f} here, of {losses[1]:.4f} in trl")
    print(f"{'':<24}{'tokens/CPU s':>13}{'range':>16}{'ours / it':>22}{'loss':>9}")
    speeds = {way: [each["tokens"] / each["seconds"] for each in rows] for way, rows in found.items()}
    for way, each in speeds.items():
        ratios = [mine / its for mine, its in zip(speeds[OURS], each, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        spread = f"{min(each):.1f} to {max(each):.1f}"
        loss = statistics.fmean(row["loss"] for row in found[way])
        print(f"{way:<24}{statistics.median(each):>13.1f}{spread:>16}{ratio:>22}{loss:>9.3f}")
    from benchmarks.quantised import cpu, version

    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "trl")))
    print(
        f"{cpu()}, {os.cpu_count()} cores, {turns} turns, {steps} steps of 256 tokens, the guide's rows have {length}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="steps of ours that count, of 256 tokens each")
    parser.add_argument("--guide-length", type=int, default=256, help="the guide's own rows have 2048 tokens")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        base, dataset = folders()
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(WAYS[given.way](base, dataset, Path(place), given.steps, given.guide_length)))
    else:
        main(given.turns, given.steps, given.guide_length)
