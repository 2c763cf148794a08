"""Preference training after the conversations: DPO (arXiv 2305.18290), by trl's DPOTrainer.

The reference is the model as the conversations left it. Its log-probabilities are computed once, before the first
step: that is exact, needs no second model in memory, and is the same with and without an adapter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import log_softmax
from transformers import PreTrainedTokenizerBase, PrinterCallback, TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from . import checkpoints
from .curves import live_curves
from .pairs import TokenPair, TokenPairs
from .pipes import Reporter
from .progress import Progress
from .saving import TimedSaving
from .settings import Settings

FOLDER = "preference"


class PreferenceTrainer(DPOTrainer):
    """DPOTrainer over rows that are tokens already, with the log-probabilities of the model as it is given."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """Add the reference's log-probabilities, computed a pair at a time as the steps do: in bf16 others differ."""
        rows = [
            [
                each.item()
                for each in self.compute_ref_log_probs(self.model, self._prepare_inputs(self.data_collator([row])))
            ]
            for row in dataset
        ]
        for place, name in enumerate(("ref_chosen_logps", "ref_rejected_logps")):
            dataset = dataset.add_column(name, [row[place] for row in rows])
        return dataset


@dataclass(frozen=True)
class Likelihood:
    """Log-probabilities (nats) that a model gives to the two answers of a pair, summed over their tokens."""

    chosen: float
    rejected: float


def likelihoods(model: Any, pairs: Sequence[TokenPair], *, in_bf16: bool = False) -> list[Likelihood]:
    """The log-probabilities of each pair's answers after its prompt; `in_bf16` computes as the training does."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=in_bf16):
            return [
                Likelihood(*(answer_logp(model, pair.prompt, each) for each in (pair.chosen, pair.rejected)))
                for pair in pairs
            ]
    finally:
        model.train(training)


def answer_logp(model: Any, prompt: Sequence[int], answer: Sequence[int]) -> float:
    ids = torch.tensor([[*prompt, *answer]], device=next(model.parameters()).device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(answer) + 1).logits[0, :-1]
    target = ids[0, len(prompt) :, None]
    return log_softmax(logits.float(), -1).gather(-1, target).sum().item()


def preferred_share(pairs: Sequence[TokenPair], found: Sequence[Likelihood]) -> float | None:
    """Share of the pairs whose chosen answer is likelier per token; None without a pair.

    Per token, because a sum over tokens favours the shorter answer.
    """
    if not pairs:
        return None
    right = sum(
        each.chosen / len(pair.chosen) > each.rejected / len(pair.rejected)
        for pair, each in zip(pairs, found, strict=True)
    )
    return right / len(pairs)


def prefer(
    settings: Settings, model: Any, tokenizer: PreTrainedTokenizerBase, pairs: TokenPairs, log: Reporter, identity: str
) -> dict[str, Any]:
    """Train `model`, whose adapter or weights the conversations have trained, on the pairs; return what to report.

    Resumes from its own last complete checkpoint, with the same reference.
    """
    in_bf16 = settings.precision == "bf16-autocast"
    before = preferred_share(pairs.held_out, likelihoods(model, pairs.held_out, in_bf16=in_bf16))
    progress = Progress(log, settings.log_seconds, "preference training, ")
    root = settings.checkpoints / FOLDER
    saving = TimedSaving(settings.save_seconds, settings.keep_checkpoints, identity)
    trainer = make_preference_trainer(
        settings, model, tokenizer, pairs.train, root, [saving, progress, *live_curves(log, "preference_")]
    )
    resumed = checkpoints.newest(root, identity)
    if resumed:
        log.line(f"preference training resumes from step {resumed.step}, the last complete checkpoint")
    try:
        trainer.train(resume_from_checkpoint=str(resumed.folder) if resumed else None)
    finally:
        progress.stop()
    after = preferred_share(pairs.held_out, likelihoods(model, pairs.held_out, in_bf16=in_bf16))
    history = trainer.state.log_history
    if before is not None and after is not None:
        log.line(
            f"of {len(pairs.held_out)} held-out pairs the chosen answer is likelier per token in {before:.0%} before "
            f"and {after:.0%} after preference training"
        )
    return {
        "steps": trainer.state.global_step,
        "preferred_before": before,
        "preferred_after": after,
        "preferred_by": "log-probability per token",
        "losses": [{"step": each["step"], "loss": each["loss"]} for each in history if "loss" in each],
    }


def make_preference_trainer(
    settings: Settings,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[TokenPair],
    root: Path,
    callbacks: list[TrainerCallback],
) -> PreferenceTrainer:
    """A trainer over the pairs, ready for `train()`."""
    precisions = {name: each.dtype for name, each in model.named_parameters() if each.requires_grad}
    rows = [{"prompt_ids": pair.prompt, "chosen_ids": pair.chosen, "rejected_ids": pair.rejected} for pair in pairs]
    trainer = PreferenceTrainer(
        model=model,
        args=preference_arguments(settings, root, preference_steps(settings, len(pairs))),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    if "ref" in getattr(model, "peft_config", {}):
        model.delete_adapter("ref")  # trl's copy of the adapter: its log-probabilities are computed
    for name, each in model.named_parameters():
        if name in precisions:  # trl makes the adapter of a quantised model bf16
            each.data = each.data.to(precisions[name])
    return trainer


def preference_steps(settings: Settings, pairs: int) -> int:
    """Optimizer steps over so many pairs."""
    return math.ceil(settings.preference_epochs * math.ceil(pairs / settings.preference_batch_size))


def preference_arguments(settings: Settings, root: Path, steps: int) -> DPOConfig:
    """The settings as a DPOConfig for so many steps."""
    return DPOConfig(
        output_dir=str(root),
        beta=settings.preference_beta,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=settings.preference_batch_size,
        num_train_epochs=settings.preference_epochs,
        learning_rate=settings.preference_learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=round(settings.warmup_share * steps),
        max_grad_norm=settings.max_grad_norm,
        optim=settings.optimizer,
        bf16=settings.precision == "bf16-autocast",
        activation_checkpointing=settings.gradient_checkpointing,
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        precompute_ref_log_probs=True,
        max_length=None,
        logging_steps=1,
        include_num_input_tokens_seen="non_padding",
        eval_strategy="no",
        save_strategy="epoch",
        restore_callback_states_from_checkpoint=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )
