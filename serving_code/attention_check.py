"""Checks before serving that the engine's attention computes what the model's own does."""

from __future__ import annotations

from typing import Any

import torch

from serving_code.attention import Decoding, Piece, Step, use_ragged_attention
from serving_code.kv_store import SMALLEST, KVStore
from serving_code.model_folder import LoadedModel, UnusableModel
from serving_code.onnx_model import OnnxModel

TOKENS, FIRST = 24, 9
# bfloat16 rounds each number to within 0.4%; another architecture's attention differs by about 100%.
TOLERANCE = 0.1


@torch.inference_mode()
def checked_bytes_per_token(loaded: LoadedModel) -> int:
    """Switch the model to ragged attention, and return the bytes that a token's keys and values take.

    Raises UnusableModel when a short text has other logits than before.
    """
    model = loaded.model
    if isinstance(model, OnnxModel):
        return model.bytes_per_token  # its graph has attention of its own, which quantization_code measured
    ids = (torch.arange(TOKENS, device=loaded.device) * 7919 % loaded.vocabulary)[None]
    expected = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1].float()
    store = KVStore(SMALLEST)
    row = store.open(None, TOKENS)
    try:
        use_ragged_attention(model)
        for start, end in ((0, FIRST), (FIRST, TOKENS - 1)):
            _run(model, ids[:, start:end], start, Step([], [Piece(row, end - start)]))
            row.length = end
        row.shelf.begin_decoding(row)
        lengths = torch.tensor([row.length], device=loaded.device)
        found = _run(model, ids[:, -1:], TOKENS - 1, Step([Decoding(row.shelf, lengths, TOKENS)], []))
    except (TypeError, AttributeError, RuntimeError, ValueError) as e:
        raise UnusableModel(_reason(model, f"{type(e).__name__}: {e}")) from e
    broken = not bool(expected.isfinite().all())  # the weights are, with any attention; the evaluation reports it
    difference = 0.0 if broken else float((found - expected).norm() / expected.norm())
    if not difference <= TOLERANCE:
        raise UnusableModel(_reason(model, f"its logits differ by {difference:.0%}"))
    return -(-store.nbytes() // SMALLEST)


def _run(model: Any, ids: torch.Tensor, start: int, step: Step) -> torch.Tensor:
    positions = torch.arange(start, start + ids.shape[1], device=ids.device)[None]
    output = model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=1, step=step)
    return output.logits[0, -1].float()


def _reason(model: Any, detail: str) -> str:
    return (
        f"this server cannot run a {type(model).__name__} ({detail}); use an architecture with plain "
        "attention, such as Phi-3, Llama, Mistral or Qwen2"
    )
