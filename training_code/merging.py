"""Merges an adapter into the weights, and checks that the merged model answers as the model with adapter did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .chat_template import render

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .chat_template import Message

ANSWER_TOKENS = 32
# Merging only reorders fp32 sums: a larger difference is a defect. A smaller one may still flip a tie of two tokens.
LARGEST_LOGIT_DIFFERENCE = 1e-2
ROOM = 1.3  # times the weights: what answering a prompt and the largest merged layer need besides


class MergeDiffers(RuntimeError):
    """The merged model computes other logits than the model with adapter."""


@dataclass(frozen=True)
class Comparison:
    """How two models answer the same `prompts` prompts: equal greedy answers, and the largest difference of logits."""

    prompts: int
    equal_answers: int
    logit_difference: float

    def as_json(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts,
            "equal_greedy_answers": self.equal_answers,
            "largest_logit_difference": self.logit_difference,
        }


@dataclass(frozen=True)
class Merged:
    """The model with the adapter in its weights (fp32), and how it compares with the model with adapter."""

    model: PreTrainedModel
    comparison: Comparison

    def as_json(self) -> dict[str, Any]:
        return self.comparison.as_json()


Answer = tuple[list[int], Any]


def merge(peft_model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]]) -> Merged:
    """Merge in fp32, and compare greedy answers and logits before and after. Raises MergeDiffers."""
    # Both in fp32: in bf16, the merged weights would round away parts of the adapter.
    peft_model = peft_model.float()
    before = answers(peft_model, tokenizer, prompts)
    model = peft_model.merge_and_unload()
    found = compare(before, answers(model, tokenizer, prompts))
    if found.logit_difference > LARGEST_LOGIT_DIFFERENCE:
        raise MergeDiffers(
            f"after merging, logits differ by up to {found.logit_difference:.4f}; {found.equal_answers} of "
            f"{found.prompts} greedy answers are equal"
        )
    return Merged(model, found)


def on_whole_base(base_model: Path, adapter: Path) -> PeftModel:
    """The base with its whole weights and the adapter of QLoRA on it; on the GPU where it fits, else on the CPU.

    An adapter can't be merged into 4-bit weights: the sum would be rounded to 4 bits again.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base: Any = AutoModelForCausalLM.from_pretrained(
        base_model, dtype=torch.float32, local_files_only=True, use_safetensors=True
    )
    if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] > ROOM * base.get_memory_footprint():
        base = base.to("cuda")
    return PeftModel.from_pretrained(base, adapter)


def answers(model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]]) -> list[Answer]:
    """The greedy answer of a model to each prompt in token ids, and the logits of its first token."""
    model.eval()
    return [greedy(model, tokenizer, render(tokenizer, prompt, ask=True)) for prompt in prompts]


def compare(before: Sequence[Answer], after: Sequence[Answer]) -> Comparison:
    """The comparison of two models' answers."""
    equal = sum(b[0] == a[0] for b, a in zip(before, after, strict=True))
    difference = max((float((b[1] - a[1]).abs().max()) for b, a in zip(before, after, strict=True)), default=0.0)
    return Comparison(len(before), equal, difference)


def greedy(model: Any, tokenizer: PreTrainedTokenizerBase, text: str) -> Answer:
    """The greedy answer to a rendered prompt in token ids, and the logits of its first token."""
    import torch

    encoded = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.no_grad():
        logits = model(**encoded).logits[0, -1].float().cpu()
        answer = model.generate(**encoded, max_new_tokens=ANSWER_TOKENS, do_sample=False, use_cache=True)
    return answer[0, encoded["input_ids"].shape[1] :].tolist(), logits


def prompts_of(conversations: Sequence[Sequence[Message]], count: int) -> list[list[Message]]:
    """The first `count` conversations up to their last user turn."""
    prompts = []
    for messages in conversations[:count]:
        last = max(i for i, message in enumerate(messages) if message["role"] == "user")
        prompts.append(list(messages[: last + 1]))
    return prompts
