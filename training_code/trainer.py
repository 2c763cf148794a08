"""trl's SFTTrainer, configured from Settings, with a loss that is fast on a CPU."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
    TrainerCallback,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

from .data import IGNORED
from .errors import TrainingRefused
from .model import adapter_config
from .replay import HELD, Mixed, base_of
from .settings import Settings
from .sizing import steps_of, warmup_steps

# The inputs of the model in a batch; attention.py uses the offsets.
SEEN = ("input_ids", "attention_mask", "position_ids", "cu_seq_lens_q")


class Trainer(SFTTrainer):
    """SFTTrainer whose loss on a CPU projects only the positions in the loss, in the model's own precision.

    trl 1.16 avoids full logits with a kernel for GPUs. Its CPU path projects every position, and multiplies in fp32 in
    the backward pass: about a third of a step's time for a model of a hundred million weights.
    """

    # Set once the validation rows are known: average number of tokens in the loss per row of a batch.
    eval_tokens_per_row: float | None = None
    # Set when some rows are replay: returns the base model and a context in which to call it.
    base: Callable[[], tuple[Any, AbstractContextManager[Any]]] | None = None
    order: Mixed | None = None  # set with it: the rows of each epoch
    compact = True  # whether the logits are the output layer of the last hidden states, as the fast loss has them

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.order or super()._get_train_sampler(train_dataset)

    def free_model(self) -> None:
        """Drop the model and the optimizer's state, and give their memory on the GPU back."""
        for holder, name in ((self, "model"), (self, "model_wrapped"), (self.callback_handler, "model")):
            setattr(holder, name, None)
        self.free_optimizer()

    def free_optimizer(self) -> None:
        """Drop the optimizer's state and the base's copy, and give their memory on the GPU back."""
        for holder in (self, self.callback_handler):
            holder.optimizer = holder.lr_scheduler = None
        self.base = None
        self.accelerator.free_memory()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if not model.training and self.eval_tokens_per_row:
            # The evaluation averages over rows; this divisor makes the result the mean over tokens.
            num_items_in_batch = torch.tensor(self.eval_tokens_per_row * inputs["input_ids"].shape[0])
        if (self.args.device.type != "cpu" and self.base is None) or return_outputs or not self.compact:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return self.compact_loss(model, inputs, num_items_in_batch)

    def compact_loss(self, model: Any, inputs: dict[str, Any], tokens: Any) -> torch.Tensor:
        """Negative log-likelihood of the labels, summed, divided by `tokens` (None: by the number of labels).

        A replayed token counts with the divergence KL(base || model) of the distributions at its place.
        """
        causal = self.accelerator.unwrap_model(model)
        causal = causal.get_base_model() if hasattr(causal, "get_base_model") else causal
        seen = {name: inputs[name] for name in SEEN if name in inputs}
        labels = inputs["labels"][:, 1:]
        own, held = labels >= 0, labels <= HELD
        as_base = self.base_logits(seen, held) if self.base is not None and held.any() else None
        with self.accelerator.autocast():
            hidden = last_hidden(causal, seen)
            logits = causal.get_output_embeddings()(hidden[own])
            held_logits = causal.get_output_embeddings()(hidden[held]) if as_base is not None else None
        total = cross_entropy(logits.float(), labels[own], reduction="sum")
        if as_base is not None and held_logits is not None:
            target, found = log_softmax(as_base.float(), -1), log_softmax(held_logits.float(), -1)
            total = total + kl_div(found, target, reduction="sum", log_target=True)
        return total / ((own | held).sum() if tokens is None else tokens).clamp(min=1)

    def base_logits(self, seen: dict[str, Any], places: torch.Tensor) -> torch.Tensor:
        """The base model's logits at `places` of the rows in `seen`."""
        assert self.base is not None
        base, context = self.base()
        with torch.no_grad(), context, self.accelerator.autocast():
            return base.get_output_embeddings()(last_hidden(base, seen)[places])


def has_plain_output(causal: Any) -> bool:
    """Whether the logits are the output layer of the last hidden states; Gemma 2 caps them, Cohere scales them."""
    ids = torch.arange(1, 9, device=causal.device)[None]
    training = causal.training
    causal.eval()
    with torch.no_grad():
        logits = causal(input_ids=ids, use_cache=False).logits[:, :-1]
        plain = causal.get_output_embeddings()(last_hidden(causal, {"input_ids": ids}))
    causal.train(training)
    return torch.allclose(logits.float(), plain.float(), atol=1e-3, rtol=1e-2)


def last_hidden(causal: Any, seen: dict[str, Any]) -> torch.Tensor:
    """The last hidden states of all positions but the last of each row."""
    return getattr(causal, causal.base_model_prefix)(**seen, use_cache=False).last_hidden_state[:, :-1]


def make_trainer(
    settings: Settings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Dataset,
    validation: Dataset,
    callbacks: list[TrainerCallback],
    order: Mixed | None = None,
) -> Trainer:
    """A trainer over tokenised rows, ready for `train()`; `order` goes through them when some are replay."""
    if settings.early_stopping_patience:
        callbacks = [*callbacks, EarlyStoppingCallback(settings.early_stopping_patience)]
    trainer = Trainer(
        model=model,
        args=checked_arguments(settings, steps_of(settings, len(order or train))),
        data_collator=DataCollatorForLanguageModeling(
            pad_token_id=int(tokenizer.pad_token_id),  # type: ignore[arg-type]
            padding_free=settings.packing,
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=adapter_config(settings, model),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    if settings.method == "qlora":
        # trl makes the adapter of a quantised model bf16, where the smallest updates would be rounded away.
        for each in trainer.model.parameters():  # type: ignore[union-attr]
            if each.requires_grad:
                each.data = each.data.float()
    trainer.compact = has_plain_output(model)
    if order and not trainer.compact:
        raise TrainingRefused(
            f"replay_share: {type(model).__name__} changes its logits after the output layer, which replay does not "
            "follow: set replay_share to 0"
        )
    if order:
        trainer.order, trainer.base = order, base_of(trainer.model, in_bf16=settings.precision == "bf16-autocast")
    in_loss = sum(label != IGNORED for row in validation["labels"] for label in row)
    batches = math.ceil(len(validation) / settings.eval_batch_size)
    # Without padding, a batch reaches the loss as one long row.
    trainer.eval_tokens_per_row = in_loss / (batches if settings.packing else len(validation))
    return trainer


def checked_arguments(settings: Settings, steps: int) -> SFTConfig:
    """arguments() with TrainingRefused for a schedule or an optimizer that transformers doesn't have."""
    try:
        return arguments(settings, steps)
    except ValueError as e:
        raise TrainingRefused(str(e)) from e


def arguments(settings: Settings, steps: int) -> SFTConfig:
    """The settings as an SFTConfig."""
    return SFTConfig(
        output_dir=str(settings.checkpoints),
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.eval_batch_size,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=warmup_steps(settings, steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        neftune_noise_alpha=settings.neftune_noise_alpha,
        optim=settings.optimizer,
        bf16=settings.precision == "bf16-autocast",
        activation_checkpointing=settings.gradient_checkpointing,
        use_cpu=not torch.cuda.is_available(),
        seed=settings.seed,
        data_seed=settings.seed,
        # The rows already are tokens with labels, packed if packing is on.
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        logging_steps=1,
        include_num_input_tokens_seen="non_padding",
        eval_strategy="epoch",
        save_strategy="epoch",
        prediction_loss_only=True,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
        push_to_hub=False,
    )
