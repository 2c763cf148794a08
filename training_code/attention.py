"""Attention over packed rows on a CPU, at the cost of the single conversations instead of the whole row.

torch's CPU attention with a mask computes every pair of positions of a packed row and discards most of them. One call
per conversation computes only the pairs that count. For short conversations in bf16, plain matrix products beat the
fused kernel, whose backward pass takes two to three times as long up to about two hundred tokens (torch 2.13, AVX-512).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "sdpa_by_conversation"
# In tokens. Above it, storing the quadratic score matrix costs more than the plain products save.
SHORT = 256


def register() -> str:
    """Register this attention with transformers and return its name."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    cu_seq_lens_q: torch.Tensor | None = None,
    sliding_window: int | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention, shapes as in transformers: (batch, heads, length, width) in, (batch, length, heads, width) out.

    With `cu_seq_lens_q` (the offsets at which the conversations of a packed row begin, and its length), each
    conversation attends only to itself. Without it, or when a conversation is longer than the model's window, the mask
    decides.
    """
    lengths = [] if cu_seq_lens_q is None else cu_seq_lens_q.diff().tolist()
    if not lengths or (sliding_window is not None and max(lengths) > sliding_window):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    parts = []
    for q, k, v in zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True):
        if q.shape[2] > SHORT or given.get("dropout"):
            parts.append(sdpa_attention_forward(module, q, k, v, None, **given)[0])
        else:
            parts.append(plain(q, k, v, given["scaling"]).transpose(1, 2))
    return torch.cat(parts, dim=1), None


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float) -> torch.Tensor:
    """Causal attention of one conversation, computed by its definition; (batch, heads, length, width) in and out."""
    groups = query.shape[1] // key.shape[1]
    length = query.shape[2]
    future = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    scores = query @ repeat_kv(key, groups).transpose(2, 3) * scaling
    weights = scores.masked_fill(future, float("-inf")).softmax(-1, dtype=torch.float32)
    return weights.to(value.dtype) @ repeat_kv(value, groups)
