"""Progress of a training: log lines, often at first and then ever less, and a bar on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import psutil
from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from . import ranks
from .pipes import Reporter

SHARE_OF_ELAPSED = 1 / 3  # of the time so far, between two lines: the number of lines grows with its logarithm only
LONGEST_PAUSE = 3600.0  # seconds


class Progress(TrainerCallback):
    """Reports step, loss, learning rate, tokens/s, resident memory, last checkpoint and time left.

    The first lines come every `seconds`, later ones after a third of the time so far: whoever stores the lines, such as
    Dagster's event log, gets about 25 in the first hour and 45 in a day. Each begins with `stage`.
    """

    def __init__(self, reporter: Reporter, seconds: float, stage: str = "") -> None:
        self.reporter, self.seconds, self.stage = reporter, seconds, stage
        self.step = self.steps = self.first_step = self.tokens = self.first_tokens = 0
        self.loss = self.learning_rate = 0.0
        self.checkpoint = 0
        self.said: dict[str, float] = {}
        self.began = time.monotonic()
        self.seconds_trained = 0.0
        self.over = threading.Event()
        self.bar: tqdm[Any] | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.began = time.monotonic()
        self.steps, self.step, self.first_step = state.max_steps, state.global_step, state.global_step
        self.tokens = self.first_tokens = state.num_input_tokens_seen
        if sys.stderr.isatty() and ranks.is_first():
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
            self.say_seldom("epoch", f"epoch {state.epoch:.2f}: validation loss {logs['eval_loss']:.4f} per token")

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not self.checkpoint:
            self.say(f"{self.stage}checkpoint at step {state.global_step}")
        self.checkpoint = state.global_step

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
        while not self.over.wait(self.pause()):
            self.say(self.line())
            self.reporter.progress(self.numbers())

    def pause(self) -> float:
        """Seconds until the next line."""
        return min(max(self.seconds, SHARE_OF_ELAPSED * (time.monotonic() - self.began)), LONGEST_PAUSE)

    def say_seldom(self, kind: str, text: str) -> None:
        """Report the text, unless one of its kind was reported less than a pause ago."""
        now = time.monotonic()
        if now - self.said.get(kind, float("-inf")) >= self.pause():
            self.said[kind] = now
            self.say(text)

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
        saved = f"  checkpoint at step {self.checkpoint}" if self.checkpoint else ""
        return (
            f"{self.stage}step {self.step}/{self.steps}  loss {self.loss:.4f}  lr {self.learning_rate:.2e}  "
            f"{n['tokens_per_second']:.0f} tokens/s  {n['memory_gb']:.2f} GB  {left}{saved}"
        )
