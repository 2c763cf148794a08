"""trl's SFTTrainer, configured from Settings, with a loss that is fast on a CPU."""

from __future__ import annotations

import gc
import inspect
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

from . import ranks
from .data import IGNORED
from .errors import TrainingRefused
from .model import adapter_config
from .replay import HELD, Mixed, base_of
from .settings import Settings
from .sharing import Shared
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
    order: Mixed | Shared | None = None  # the rows of each epoch
    compact = True  # whether the model can compute the logits of chosen positions only, as the fast loss needs

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

    def _wrap_model(self, model: Any, training: bool = True, dataloader: Any = None) -> Any:
        wrapped = super()._wrap_model(model, training, dataloader)
        if self.accelerator.ddp_handler is not None:
            # Gradients are views into what is sent to the other ranks, which would be a copy of all of them.
            self.accelerator.ddp_handler.gradient_as_bucket_view = True
        return wrapped

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        compact = (self.args.device.type == "cpu" or self.base is not None) and not return_outputs and self.compact
        # The gradients of the ranks are averaged, and each divides by the tokens of all.
        scale = ranks.count() if model.training and num_items_in_batch is not None else 1
        if not model.training and self.eval_tokens_per_row:
            # The evaluation averages over rows; this divisor makes the result the mean over tokens.
            num_items_in_batch = torch.tensor(self.eval_tokens_per_row * inputs["input_ids"].shape[0])
            if not compact:
                num_items_in_batch = num_items_in_batch * ranks.count()  # by which trl multiplies
        if not compact:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return scale * self.compact_loss(model, inputs, num_items_in_batch)

    def compact_loss(self, model: Any, inputs: dict[str, Any], tokens: Any) -> torch.Tensor:
        """Negative log-likelihood of the labels, summed, divided by `tokens` (None: by the number of labels).

        A replayed token counts with the divergence KL(base || model) of the distributions at its place. The model is
        called as a whole, because that is what lets its gradients be exchanged between ranks.
        """
        seen = {name: inputs[name] for name in SEEN if name in inputs}
        labels = inputs["labels"][:, 1:]
        own, held = labels >= 0, labels <= HELD
        as_base = self.base_logits(seen, held) if self.base is not None and held.any() else None
        counted = own | held if as_base is not None else own
        with self.accelerator.autocast():
            logits = chosen_logits(model, seen, counted)
        own_logits = logits if as_base is None else logits[own[counted]]
        total = cross_entropy(own_logits.float(), labels[own], reduction="sum")
        if as_base is not None:
            target, found = log_softmax(as_base.float(), -1), log_softmax(logits[held[counted]].float(), -1)
            total = total + kl_div(found, target, reduction="sum", log_target=True)
        return total / ((own | held).sum() if tokens is None else tokens).clamp(min=1)

    def base_logits(self, seen: dict[str, Any], places: torch.Tensor) -> torch.Tensor:
        """The base model's logits at `places` of the rows in `seen`."""
        assert self.base is not None
        base, context = self.base()
        with torch.no_grad(), context, self.accelerator.autocast():
            return chosen_logits(base, seen, places)


def chosen_logits(model: Any, seen: dict[str, Any], places: torch.Tensor) -> torch.Tensor:
    """The logits at `places`, true where wanted, of shape (rows, positions): (number of places, vocabulary).

    The model's output layer computes only positions that are wanted in some row.
    """
    columns = places.any(0).nonzero()[:, 0]
    logits = model(**seen, use_cache=False, logits_to_keep=columns).logits
    wanted = places[:, columns]
    return logits.flatten(0, 1) if wanted.all() else logits[wanted]


def takes_positions(causal: Any) -> bool:
    """Whether the model can compute the logits of chosen positions only."""
    return "logits_to_keep" in inspect.signature(type(causal).forward).parameters


def make_trainer(
    settings: Settings,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    train: Dataset,
    validation: Dataset,
    callbacks: list[TrainerCallback],
    order: Mixed | Shared | None = None,
    steps: int | None = None,
    replays: bool = False,
) -> Trainer:
    """A trainer over tokenised rows, ready for `train()`; `order` goes through them, and `replays` some of them.

    `steps` of the whole run; by default those of all rows.
    """
    steps = steps_of(settings, len(train)) if steps is None else steps
    if settings.early_stopping_patience:
        callbacks = [*callbacks, EarlyStoppingCallback(settings.early_stopping_patience)]
    trainer = Trainer(
        model=model,
        args=checked_arguments(settings, steps),
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
    trainer.compact = takes_positions(model)
    trainer.order = order
    if replays and not trainer.compact:
        raise TrainingRefused(
            f"replay_share: {type(model).__name__} cannot compute the logits of chosen positions, which replay needs: "
            "set replay_share to 0"
        )
    if replays:
        trainer.base = base_of(trainer.model, in_bf16=settings.precision == "bf16-autocast")
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
        gradient_accumulation_steps=math.ceil(settings.accumulation / ranks.count()),
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
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # of Phi's two sets of positions, each rank takes the one that its row needs
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
