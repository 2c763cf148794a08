"""Merges an adapter into the weights, and checks that the merged model answers as the model with adapter did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .chat_template import render

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .chat_template import Message

ANSWER_TOKENS = 32
# Merging only reorders fp32 sums: a larger difference is a defect. A smaller one may still flip a tie of two tokens.
LARGEST_LOGIT_DIFFERENCE = 1e-2


class MergeDiffers(RuntimeError):
    """The merged model computes other logits than the model with adapter."""


@dataclass(frozen=True)
class Merged:
    """The model with the adapter in its weights (fp32), and how it compares with the adapter on `prompts` prompts."""

    model: PreTrainedModel
    prompts: int
    equal_answers: int
    logit_difference: float

    def as_json(self) -> dict[str, Any]:
        return {
            "prompts": self.prompts,
            "equal_greedy_answers": self.equal_answers,
            "largest_logit_difference": self.logit_difference,
        }


def merge(peft_model: Any, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Sequence[Message]]) -> Merged:
    """Merge in fp32, and compare greedy answers and logits before and after. Raises MergeDiffers."""
    # Both in fp32: in bf16, the merged weights would round away parts of the adapter.
    peft_model = peft_model.float().eval()
    texts = [render(tokenizer, prompt, ask=True) for prompt in prompts]
    before = [greedy(peft_model, tokenizer, text) for text in texts]
    model = peft_model.merge_and_unload()
    after = [greedy(model, tokenizer, text) for text in texts]
    equal = sum(b[0] == a[0] for b, a in zip(before, after, strict=True))
    difference = max((float((b[1] - a[1]).abs().max()) for b, a in zip(before, after, strict=True)), default=0.0)
    if difference > LARGEST_LOGIT_DIFFERENCE:
        raise MergeDiffers(
            f"after merging, logits differ by up to {difference:.4f}; {equal} of {len(texts)} greedy answers are equal"
        )
    return Merged(model, len(texts), equal, difference)


def greedy(model: Any, tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], Any]:
    """The greedy answer to a rendered prompt in token ids, and the logits of its first token."""
    import torch

    encoded = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.no_grad():
        logits = model(**encoded).logits[0, -1].float()
        answer = model.generate(**encoded, max_new_tokens=ANSWER_TOKENS, do_sample=False, use_cache=True)
    return answer[0, encoded["input_ids"].shape[1] :].tolist(), logits


def prompts_of(conversations: Sequence[Sequence[Message]], count: int) -> list[list[Message]]:
    """The first `count` conversations up to their last user turn."""
    prompts = []
    for messages in conversations[:count]:
        last = max(i for i, message in enumerate(messages) if message["role"] == "user")
        prompts.append(list(messages[: last + 1]))
    return prompts
