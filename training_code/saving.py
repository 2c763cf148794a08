"""Decides when a checkpoint is written: each epoch, and every `save_seconds`. Does not change the weights."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from . import checkpoints, ranks


class TimedSaving(TrainerCallback):
    """Requests a checkpoint when the last is `seconds` old, and marks each one as complete once it is on disk."""

    def __init__(self, seconds: float, keep: int, fingerprint: str) -> None:
        self.seconds, self.keep, self.fingerprint = seconds, keep, fingerprint
        self.saved_at = time.monotonic()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.saved_at = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        # The last step of an epoch is saved after its evaluation; saving it here too would overwrite a complete one.
        ends_epoch = control.should_training_stop or state.epoch == int(state.epoch or 0)
        # Rank 0's clock decides: all ranks write a part of a checkpoint.
        if not ends_epoch and ranks.of_first(lambda: time.monotonic() - self.saved_at >= self.seconds):
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        ranks.wait()  # until every rank has written its random state
        if ranks.is_first():
            root = Path(str(args.output_dir))
            folder = root / f"checkpoint-{state.global_step}"
            finished = control.should_training_stop
            checkpoints.mark_complete(folder, state.global_step, self.fingerprint, finished=finished)
            checkpoints.keep_newest(root, self.keep, state.best_model_checkpoint)
        self.saved_at = time.monotonic()
