"""Progress of a training: a log line every few seconds, and a bar on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import psutil
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .pipes import Reporter


class Progress(TrainerCallback):
    """Reports step, loss, learning rate, tokens/s, resident memory and time left every `seconds`."""

    def __init__(self, reporter: Reporter, seconds: float) -> None:
        self.reporter, self.seconds = reporter, seconds
        self.step = self.steps = self.first_step = self.tokens = self.first_tokens = 0
        self.loss = self.learning_rate = 0.0
        self.began = time.monotonic()
        self.seconds_trained = 0.0
        self.over = threading.Event()
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.began = time.monotonic()
        self.steps, self.step, self.first_step = state.max_steps, state.global_step, state.global_step
        self.tokens = self.first_tokens = state.num_input_tokens_seen
        if sys.stderr.isatty():
            self.bar = tqdm(total=self.steps, initial=self.step, unit="step", dynamic_ncols=True)
        # In a thread, so that lines also come during a single step that takes longer than `seconds`.
        threading.Thread(target=self.report_periodically, name="progress", daemon=True).start()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        logs = given["logs"]
        self.step, self.tokens = state.global_step, state.num_input_tokens_seen
        self.loss = logs.get("loss", self.loss)
        self.learning_rate = logs.get("learning_rate", self.learning_rate)
        if self.bar is not None and "loss" in logs:
            self.bar.update(self.step - self.bar.n)
            self.bar.set_postfix_str(f"loss {self.loss:.3f}, {self.speed():.0f} tokens/s")
        if "eval_loss" in logs:
            self.say(f"epoch {state.epoch:.2f}: validation loss {logs['eval_loss']:.4f} per token")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.say(f"checkpoint at step {state.global_step}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        """End the thread and close the bar. Idempotent."""
        if not self.over.is_set():
            self.seconds_trained = time.monotonic() - self.began
        self.over.set()
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def report_periodically(self) -> None:
        while not self.over.wait(self.seconds):
            self.say(self.line())
            self.reporter.progress(self.numbers())

    def say(self, text: str) -> None:
        if self.bar is None:
            self.reporter.line(text)
        else:
            with tqdm.external_write_mode():
                self.reporter.line(text)

    def speed(self) -> float:
        """Training tokens per second since this process began to train, including evaluations and saves."""
        seconds = self.seconds_trained or time.monotonic() - self.began
        return (self.tokens - self.first_tokens) / max(seconds, 1e-9)

    def numbers(self) -> dict[str, float]:
        done = self.step - self.first_step
        elapsed = time.monotonic() - self.began
        return {
            "step": self.step,
            "steps": self.steps,
            "loss": self.loss,
            "learning_rate": self.learning_rate,
            "tokens_per_second": self.speed(),
            "memory_gb": psutil.Process().memory_info().rss / 1e9,
            "seconds_left": elapsed / done * (self.steps - self.step) if done else float("nan"),
        }

    def line(self) -> str:
        n = self.numbers()
        left = f"{n['seconds_left']:.0f} s left" if self.step > self.first_step else "first step running"
        return (
            f"step {self.step}/{self.steps}  loss {self.loss:.4f}  lr {self.learning_rate:.2e}  "
            f"{n['tokens_per_second']:.0f} tokens/s  {n['memory_gb']:.2f} GB  {left}"
        )
