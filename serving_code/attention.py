"""Attention over sequences of different lengths in one forward pass, without padding the model's other layers.

All new tokens of a step are one flat row for the model: one token for each sequence that is being decoded, then pieces
of prompts. Only attention looks at sequences, and reads their earlier tokens from the key-value store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from serving_code.kv_store import Row, Shelf

NAME = "phi_assets_ragged"


@dataclass(frozen=True)
class Decoding:
    """The decoding rows of a shelf; `lengths` (rows) are their stored tokens, `longest` the most after this step."""

    shelf: Shelf
    lengths: torch.Tensor
    longest: int


@dataclass(frozen=True)
class Piece:
    """`tokens` more tokens of the prompt of one row."""

    row: Row
    tokens: int


@dataclass(frozen=True)
class Step:
    """The order of the flat row: the decoding rows shelf by shelf, then the pieces."""

    decoding: list[Decoding]
    pieces: list[Piece]
    masks: dict[tuple[int, int | None], torch.Tensor | None] = field(default_factory=dict)


def use_ragged_attention(model: Any) -> None:
    """Let the model attend by this module. Raises ValueError when its architecture does not allow it."""
    AttentionInterface.register(NAME, ragged_attention)
    model.set_attn_implementation(NAME)


def ragged_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    step: Step,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Store keys and values (1, heads, tokens, width) and return the attention's output (1, tokens, heads, width)."""
    layer: int = module.layer_idx  # type: ignore[assignment]
    by_token = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    outputs: list[torch.Tensor] = []
    at = 0
    for number, group in enumerate(step.decoding):
        rows = group.lengths.shape[0]
        queries, keys, values = (tensor[at : at + rows] for tensor in by_token)
        at += rows
        key_room, value_room = group.shelf.layer(layer, key, value)
        which = torch.arange(rows, device=key.device)
        key_room[which, :, group.lengths] = keys
        value_room[which, :, group.lengths] = values
        # Query heads that share a key head are its queries: nothing is repeated, and one token needs no causal mask.
        grouped = queries.reshape(rows, keys.shape[1], -1, queries.shape[-1])
        found = scaled_dot_product_attention(
            grouped,
            key_room[:rows, :, : group.longest],
            value_room[:rows, :, : group.longest],
            attn_mask=_decoding_mask(step, number, sliding_window, query.dtype),
            scale=scaling,
        )
        outputs.append(found.reshape(rows, queries.shape[1], -1))
    for number, piece in enumerate(step.pieces, start=len(step.decoding)):
        queries = query[:, :, at : at + piece.tokens]
        start, end = piece.row.length, piece.row.length + piece.tokens
        key_room, value_room = piece.row.shelf.layer(layer, key, value)
        slot = piece.row.slot
        key_room[slot, :, start:end] = key[0, :, at : at + piece.tokens]
        value_room[slot, :, start:end] = value[0, :, at : at + piece.tokens]
        at += piece.tokens
        mask = _piece_mask(step, number, start, piece.tokens, sliding_window, query)
        keys, values = key_room[slot : slot + 1, :, :end], value_room[slot : slot + 1, :, :end]
        if query.device.type != "cpu" and mask is not None:
            # CUDA's fast kernels take shared key heads only without a mask.
            groups = query.shape[1] // key.shape[1]
            keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
        found = scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=keys.shape[1] != query.shape[1],
        )
        outputs.append(found[0].transpose(0, 1))
    return torch.cat(outputs).unsqueeze(0), None


def _decoding_mask(step: Step, number: int, window: int | None, dtype: torch.dtype) -> torch.Tensor | None:
    """(rows, 1, 1, longest) to add to the scores, made once a step; None when every row has the same length."""
    if (number, window) not in step.masks:
        group = step.decoding[number]
        lengths = group.lengths[:, None]
        places = torch.arange(group.longest, device=lengths.device)[None]
        seen = places <= lengths
        if window is not None:
            seen &= places > lengths - window
        step.masks[number, window] = None if bool(seen.all()) else _added(seen, dtype)[:, None, None]
    return step.masks[number, window]


def _piece_mask(
    step: Step, number: int, start: int, tokens: int, window: int | None, query: torch.Tensor
) -> torch.Tensor | None:
    """(tokens, start + tokens) to add to the scores, made once a step; None when plain causal attention is right."""
    if start == 0 and (window is None or tokens <= window):
        return None
    if (number, window) not in step.masks:
        own = torch.arange(start, start + tokens, device=query.device)[:, None]
        places = torch.arange(start + tokens, device=query.device)[None]
        seen = places <= own
        if window is not None:
            seen &= places > own - window
        step.masks[number, window] = _added(seen, query.dtype)
    return step.masks[number, window]


def _added(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
