"""The graph in onnxruntime computes what transformers does, however the tokens come."""

import json
from pathlib import Path

import pytest
import torch

from evaluation_code.inputs import Message
from quantization_code.errors import CannotQuantize
from quantization_code.folder import write
from serving_code.attention import Decoding, Piece, Step
from serving_code.kv_store import KVStore
from serving_code.model_folder import load_model_folder
from tests.support.tiny_models import make_tiny_phi3

TOKENS = 90
# int8 weights and activations of a random model of 64 dimensions; another computation differs by about 1.
NEAR = 0.02


def pieces_then_one_by_one(folder: Path, ids: list[int], pieces: tuple[int, ...]) -> torch.Tensor:
    """The logits after the last token: the pieces of a prompt are read, then the rest token by token."""
    model = load_model_folder(folder).model
    store = KVStore(2048)
    row = store.open(None, len(ids))
    with torch.inference_mode():
        for tokens in pieces:
            part = torch.tensor([ids[row.length : row.length + tokens]])
            model(input_ids=part, logits_to_keep=torch.tensor([tokens - 1]), step=Step([], [Piece(row, tokens)]))
            row.length += tokens
        row.shelf.begin_decoding(row)
        found = torch.empty(0)
        for token in ids[row.length :]:
            step = Step([Decoding(row.shelf, torch.tensor([row.length]), row.length + 1)], [])
            found = model(input_ids=torch.tensor([[token]]), logits_to_keep=torch.tensor([0]), step=step).logits[0, -1]
            row.length += 1
    return found


def expected(folder: Path, ids: list[int]) -> torch.Tensor:
    """The logits after the last token, by transformers in fp32."""
    with torch.inference_mode():
        return load_model_folder(folder, "float32").model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]


@pytest.mark.parametrize("pieces", [(TOKENS - 1,), (40, 30), (1,), (7, 1, 50)])
def test_pieces_of_a_prompt_and_single_tokens_give_the_logits_of_the_whole(full, int8, pieces):
    ids = [token * 31 % 500 for token in range(TOKENS)]

    found = pieces_then_one_by_one(int8, ids, pieces)

    wanted = expected(full, ids)
    assert float((found - wanted).norm() / wanted.norm()) < NEAR


WIDE_HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}


@pytest.mark.parametrize("change", [{"sliding_window": 24}, {"partial_rotary_factor": 0.5, **WIDE_HEADS}])
def test_a_window_and_a_partial_rotation_are_kept(full, tmp_path, change):
    pytest.importorskip("onnxruntime", reason="the extra `quantize` is not installed")
    model = make_tiny_phi3(tmp_path / "full")
    config = json.loads((model / "config.json").read_text())
    rope = {**(config.get("rope_parameters") or {}), **{k: v for k, v in change.items() if k.startswith("partial")}}
    (model / "config.json").write_text(json.dumps({**config, **change, "rope_parameters": rope}))
    write(model, tmp_path / "int8", 8)
    ids = [token * 31 % 500 for token in range(TOKENS)]

    found = pieces_then_one_by_one(tmp_path / "int8", ids, (50, 20))

    wanted, other = expected(model, ids), expected(full, ids)
    assert float((found - wanted).norm() / wanted.norm()) < NEAR
    assert float((found - other).norm() / other.norm()) > NEAR


def test_a_channel_that_is_much_larger_than_its_neighbours_is_smoothed(tmp_path):
    """A gain of 300 in one channel: its block would have one step for the others."""
    pytest.importorskip("onnxruntime", reason="the extra `quantize` is not installed")
    from safetensors.torch import load_file, save_file

    model = make_tiny_phi3(tmp_path / "full")
    weights = load_file(model / "model.safetensors")
    for name, weight in weights.items():
        if "layernorm" in name or name == "model.norm.weight":
            weight[5::32] = 300.0
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    texts = [
        [Message(role="user", content=text)] for text in ("Hi", "Who wrote the manual?", "How do I reset the pump?")
    ]
    write(model, tmp_path / "plain", 8)
    write(model, tmp_path / "smoothed", 8, texts)
    ids = [token * 31 % 500 for token in range(TOKENS)]

    wanted = expected(model, ids)
    plain, smoothed = (
        float((pieces_then_one_by_one(tmp_path / name, ids, (TOKENS - 1,)) - wanted).norm() / wanted.norm())
        for name in ("plain", "smoothed")
    )

    assert smoothed < plain / 3


def test_a_rotation_that_onnxruntime_lacks_is_refused(full, tmp_path):
    config = json.loads((full / "config.json").read_text())
    config["rope_parameters"] = {**config["rope_parameters"], "partial_rotary_factor": 0.5}
    (tmp_path / "config.json").write_text(json.dumps({**config, "partial_rotary_factor": 0.5}))
    (tmp_path / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes())

    with pytest.raises(CannotQuantize, match=r"rotates 8 of a head's dimensions.*PHI_QUANTIZE=off"):
        write(tmp_path, tmp_path / "to", 8)


def test_another_architecture_is_refused_with_what_to_do(full, tmp_path):
    config = json.loads((full / "config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "architectures": ["LlamaForCausalLM"], "model_type": "llama"})
    )
    (tmp_path / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes())

    with pytest.raises(CannotQuantize, match=r"LlamaForCausalLM.*PHI_QUANTIZE=off"):
        write(tmp_path, tmp_path / "to", 8)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CannotQuantize, match="has no config"):
        write(tmp_path, tmp_path / "to", 8)
