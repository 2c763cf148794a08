"""Attention by conversation computes what attention with a mask computes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


def tensors(length: int) -> tuple[Any, Any, Any]:
    import torch

    torch.manual_seed(0)
    return tuple(torch.randn(1, heads, length, 8, requires_grad=True) for heads in (4, 2, 2))  # type: ignore[return-value]


def block_mask(lengths: list[int]) -> Any:
    import torch

    blocks = [torch.ones(n, n, dtype=torch.bool).tril() for n in lengths]
    return torch.block_diag(*blocks)[None, None].bool()


@pytest.mark.parametrize("lengths", [[5, 1, 9], [300, 20], [40]], ids=str)
def test_each_conversation_attends_as_with_a_block_mask(lengths: list[int]):
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from training_code.attention import attend

    module: Any = SimpleNamespace(num_key_value_groups=2, is_causal=True, training=True)
    offsets = torch.tensor([0, *torch.tensor(lengths).cumsum(0).tolist()], dtype=torch.int32)
    found = []
    for given in ({"attention_mask": None, "cu_seq_lens_q": offsets}, {"attention_mask": block_mask(lengths)}):
        q, k, v = tensors(sum(lengths))
        function = attend if "cu_seq_lens_q" in given else sdpa_attention_forward
        out, _ = function(module, q, k, v, scaling=0.3, **given)
        out.square().sum().backward()
        found.append((out, q.grad, k.grad, v.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_conversation_longer_than_the_models_window_is_left_to_the_mask():
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    from training_code.attention import attend

    module: Any = SimpleNamespace(num_key_value_groups=2, is_causal=True, training=True)
    q, k, v = tensors(20)
    mask = block_mask([12, 8]) & torch.ones(20, 20, dtype=torch.bool).triu(-3)
    offsets = torch.tensor([0, 12, 20], dtype=torch.int32)
    out, _ = attend(module, q, k, v, mask, cu_seq_lens_q=offsets, sliding_window=4, scaling=0.3)
    expected, _ = sdpa_attention_forward(module, q, k, v, mask, scaling=0.3)
    assert torch.equal(out, expected)


def test_it_is_what_packed_rows_get_on_a_cpu(settings: Callable[..., Any], tiny: Callable[..., Path]):
    from training_code.attention import NAME
    from training_code.model import load_model

    assert load_model(settings(packing=True)).config._attn_implementation == NAME
    assert load_model(settings(packing=False)).config._attn_implementation == "sdpa"
    assert load_model(settings(attention="eager")).config._attn_implementation == "eager"
