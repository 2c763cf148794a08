r"""Fine-tune a causal language model on conversations, from a command line or under Dagster Pipes.

    python training_code/fine_tune.py --config laptop \
        --base_model DIR --train_file FILE --validation_file FILE --output_dir OUT

Afterwards OUT holds model/ (complete, safetensors), adapter/ (unless everything was trained), report.json,
loss_curve.png, mask.png and mask.html, and preference_curve.png after preference training. When started again after a
kill, it resumes from its last complete checkpoint.
Exit codes: 0 done; 2 wrong input; 3 would take too long; 4 the orchestrator has ended; 130, 143 stopped by a signal.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:
    # Run as a file: make the folder a package under the name it was copied to. The folder itself is removed from the
    # path, so that its modules do not shadow others of the same name.
    here = Path(__file__).resolve().parent
    sys.path[0] = str(here.parent)
    __package__ = here.name

from . import checkpoints, machine, memory, process, ranks, results
from .errors import TrainingRefused
from .lifeline import hold_lifeline
from .pipes import Reporter, reporter
from .settings import Settings, settings_from


def main(arguments: Sequence[str] | None = None) -> int:
    """Train with the settings of the command line and return the exit code."""
    try:
        settings = settings_from(arguments)
    except TrainingRefused as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    if settings.tune_malloc and __name__ == "__main__":
        process.restart_with_kept_memory()
    process.stop_on_signals()
    hold_lifeline()
    if not ranks.launched() and (wanted := ranks.wanted(settings)) > 1:
        return ranks.launch(wanted)
    with reporter(silent=not ranks.is_first()) as log:
        try:
            fine_tune(settings, log)
        except TrainingRefused as e:
            log.failed(str(e))
            ranks.give_first_way()
            return e.exit_code
    return 0


def fine_tune(settings: Settings, log: Reporter) -> dict[str, Any]:
    """Train, write the results to `settings.output_dir` and return the report. Raises TrainingRefused.

    With other ranks only rank 0 does so: the others return an empty report when the training has ended.
    """
    process.check_paths(settings)
    ranks.join()
    identity = ranks.of_first(lambda: checkpoints.fingerprint(settings))
    done = ranks.of_first(lambda: results.finished_report(settings.output_dir, identity))
    if done:
        log.line(f"{settings.output_dir} already holds the result of exactly this run: nothing to do")
        return done

    log.line("loading torch and transformers")
    process.prepare(settings)
    machine.prepare(settings, log)
    from transformers import set_seed

    from . import estimate, pictures, sizing
    from .curves import live_curves
    from .data import as_dataset, load_rows
    from .merging import answers, compare, merge, on_whole_base, prompts_of
    from .model import context_length, load_model, load_tokenizer, stop_ids
    from .pairs import load_pairs
    from .progress import Progress
    from .replay import Mixed, with_replay
    from .saving import TimedSaving
    from .sharing import shared, with_blanks
    from .trainer import make_trainer

    began = time.monotonic()
    set_seed(settings.seed)

    # Data
    tokenizer = load_tokenizer(settings.base_model)
    stops = stop_ids(settings.base_model, tokenizer)
    given = settings
    longest = min(settings.max_length, context_length(settings.base_model) or settings.max_length)
    limits = (longest, settings.max_truncated_share)
    train = load_rows(settings.train_file, tokenizer, stops, *limits)
    validation = load_rows(settings.validation_file, tokenizer, stops, *limits)
    replay = None
    if settings.replay_file is not None and settings.replay_share:
        replay = load_rows(settings.replay_file, tokenizer, stops, longest, max_cut_share=1.0)
    pairs = load_pairs(settings, tokenizer, stops, longest)
    no_preference = pairs.missing(settings.preference_min_pairs) if settings.preference != "none" else ""
    if no_preference:
        log.warning(f"no preference training: {no_preference}; the model learns from conversations alone")
    elif len(pairs):
        log.line(f"then preference training on {len(pairs.train)} pairs; {len(pairs.held_out)} are held out")
    tokens = sizing.epoch_tokens(train.tokens, settings.replay_share if replay else 0.0)
    conversations = round(len(train.rows) * tokens / train.tokens)
    settings = sizing.fitted(settings.model_copy(update={"max_length": longest}), tokens=tokens, rows=conversations)
    packed = partial(as_dataset, packing=settings.packing, packed_length=settings.packed_length, seed=settings.seed)
    train_set = packed(train.rows)
    order = Mixed(len(train_set), 0, 0, settings.seed)
    if replay:
        train_set, order = with_replay(train_set, replay.rows, settings)
    validation_set = packed(validation.rows)
    rows, steps = len(order), sizing.steps_of(settings, len(order))
    if ranks.count() > 1:
        settings, train_set, order = shared(settings, train_set, order, log)
        validation_set = with_blanks(validation_set, settings.eval_batch_size * ranks.count())
    planned = sizing.plan(
        settings,
        steps=steps,
        rows=rows,
        tokens=tokens,
        longest=max(len(row.ids) for row in train.rows),
        device=process.device_name(),
    )

    # Model
    model = load_model(settings)
    weights = machine.weights_of(settings)
    # An adapter comes with the trainer, and is small.
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad) if settings.method == "full" else 0
    at_once = settings.batch_size * max(settings.packed_length if settings.packing else 0, planned.longest_conversation)
    peak = machine.refuse_what_does_not_fit(settings, weights, trained, at_once)
    checkpoint = memory.checkpoint_bytes(settings, weights, trained)
    memory.announce(log, settings, peak, checkpoint)
    progress = Progress(log, settings.log_seconds)
    saving = TimedSaving(memory.seconds_between(settings, checkpoint), settings.keep_checkpoints, identity)
    trainer = make_trainer(
        settings,
        model,
        tokenizer,
        train_set,
        validation_set,
        [saving, progress, *live_curves(log)],
        order,
        steps,
        bool(replay),
    )

    # Train
    resumed = ranks.of_first(lambda: checkpoints.newest(settings.checkpoints, identity))
    if resumed:
        log.line(f"resuming from step {resumed.step}, the last complete checkpoint")
    if not (resumed and resumed.finished):
        left = steps - (resumed.step if resumed else 0)
        ahead = estimate.estimate(trainer, settings, validation, left, steps, 0 if no_preference else pairs.tokens)
        estimate.announce(log, settings, train, validation, replay, planned, ahead)
    else:
        # Training had ended, perhaps by early stopping: the trainer only loads the best weights.
        trainer.args.max_steps = resumed.step
    try:
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    finally:
        progress.stop()
    together = ranks.count()
    ranks.leave()
    if not ranks.is_first():
        return {}

    stage = results.staging(settings.output_dir)
    report = process.facts(given, identity, trainer, planned, progress, train, validation, replay)
    report |= {"resumed_from": resumed.step if resumed else None, "processes": together}
    # Without the wrapper that computes in bf16.
    tuned: Any = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)

    # Preferences
    if settings.preference != "none":
        report["preference"] = {"method": settings.preference, "pairs": pairs.counts(), "not_done": no_preference}
        if not no_preference:
            from .preference import prefer

            trainer.free_optimizer()
            report["preference"] |= prefer(settings, tuned, tokenizer, pairs, log, identity)
            pictures.draw_losses(report["preference"]["losses"], stage / "preference_curve.png", "loss per pair (nats)")

    # Merge and save
    if settings.method != "full":
        tuned.save_pretrained(stage / "adapter")
        log.line("merging the adapter")
        prompts = prompts_of(validation.conversations, settings.merge_check_prompts)
        if settings.method == "qlora":
            trained = answers(tuned, tokenizer, prompts)
            del tuned, model
            trainer.free_model()
            merged = merge(on_whole_base(settings.base_model, stage / "adapter"), tokenizer, prompts)
            report["quantisation"] = compare(trained, answers(merged.model, tokenizer, prompts)).as_json()
        else:
            merged = merge(tuned, tokenizer, prompts)
        tuned, report["merge"] = merged.model, merged.as_json()
    results.save_model(tuned, settings.base_model, stage / "model")

    # Report
    examples = [train.rows[i] for i in pictures.chosen_rows(train.conversations)]
    pictures.draw_mask(tokenizer, examples, stage / "mask.png")
    (stage / "mask.html").write_text(pictures.mask_html(tokenizer, examples), encoding="utf-8")
    pictures.draw_losses(trainer.state.log_history, stage / "loss_curve.png")
    report["seconds"] = round(time.monotonic() - began, 1)
    report = results.publish(stage, settings.output_dir, report)
    shutil.rmtree(settings.checkpoints, ignore_errors=True)
    log.line(f"done in {report['seconds']:.0f} s: {settings.output_dir}")
    return report


if __name__ == "__main__":
    # trl and peft still use names that transformers has deprecated; the user can do nothing about it.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl|peft")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
