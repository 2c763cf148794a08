import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, dequantize

from export_code.errors import CannotExport
from export_code.gguf_file import QUANTIZATIONS, About, file_size, write_gguf
from export_code.model_files import Weights
from export_code.model_source import model_name, read_source
from tests.support.phi_shapes import ORIGINAL, SHAPES, WINDOW

ABOUT = About("phi-chat", "3", "mit", digests={"model": "m" * 64, "dataset": "d" * 64})


def written(folder: Path, file: Path, quantization: str = "f32") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the metadata and the tensors of the model as GGUF."""
    write_gguf(folder, file, read_source(folder), ABOUT, quantization, lambda line: None)
    reader = GGUFReader(file)
    metadata = {name: field.contents() for name, field in reader.fields.items()}
    return metadata, {tensor.name: tensor for tensor in reader.tensors}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_weight_reads_back_equal(models: Path, tmp_path: Path, shape: str):
    _, tensors = written(models / shape, tmp_path / "m.gguf")
    weights = Weights(models / shape)
    stored = [name for name in weights.names() if not name.startswith("model.layers")]
    names = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    names |= {
        f"model.layers.1.{ours}.weight": f"blk.1.{theirs}.weight"
        for ours, theirs in (
            ("self_attn.qkv_proj", "attn_qkv"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
        )
    }

    for ours in [*stored, *(name for name in weights.names() if name.startswith("model.layers.1"))]:
        np.testing.assert_array_equal(tensors[names[ours]].data, weights.read(ours))
    assert ("output.weight" in tensors) == (shape != "phi4-mini")  # its output layer is its embedding


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_a_quantised_file_is_as_large_as_was_said_and_near_its_weights(models: Path, tmp_path: Path, quantization: str):
    folder = models / "phi4-mini"
    _, tensors = written(folder, tmp_path / "m.gguf", quantization)
    expected = Weights(folder).read("model.layers.0.mlp.down_proj.weight")
    found = tensors["blk.0.ffn_down.weight"]

    assert found.tensor_type.name == quantization.upper()
    assert tensors["output_norm.weight"].tensor_type == GGMLQuantizationType.F32
    if quantization.startswith("q"):
        assert tensors["token_embd.weight"].tensor_type == GGMLQuantizationType.Q8_0
    # Half a step of a block's scale; 16 steps span the values of the coarsest.
    allowed = {"f32": 0.0, "f16": 1e-3, "bf16": 1e-2, "q8_0": 0.02}.get(quantization, 0.25)
    assert np.abs(dequantize(found.data, found.tensor_type) - expected).max() <= allowed * np.abs(expected).max()
    size = (tmp_path / "m.gguf").stat().st_size
    assert size <= file_size(folder, read_source(folder), quantization) + 10_000 <= size + 20_000


def test_the_metadata_say_what_llama_cpp_and_people_need(models: Path, tmp_path: Path):
    metadata, tensors = written(models / "phi35-mini", tmp_path / "m.gguf", "q8_0")
    found = {name.removeprefix("phi3."): value for name, value in metadata.items()}

    assert metadata["general.name"] == "phi-chat (Phi-3)"  # only so does llama.cpp drop white space after <|user|>
    assert (metadata["general.version"], metadata["general.license"]) == ("3", "mit")
    assert metadata["phi_assets.dataset_digest"] == "d" * 64
    assert metadata["tokenizer.chat_template"] == (models / "phi35-mini/chat_template.jinja").read_text()
    assert not metadata["tokenizer.ggml.add_bos_token"]
    assert metadata["tokenizer.ggml.tokens"][metadata["tokenizer.ggml.eot_token_id"]] == "<|end|>"
    assert (found["context_length"], found["rope.scaling.original_context_length"]) == (ORIGINAL, ORIGINAL)
    assert found["rope.scaling.attn_factor"] == pytest.approx(math.sqrt(1 + math.log(8) / math.log(ORIGINAL)))
    assert tensors["rope_factors_long.weight"].data[1] == 5.0


def test_partial_rotary_and_a_window_are_written(models: Path, tmp_path: Path):
    partial, _ = written(models / "phi4-mini", tmp_path / "4.gguf")
    window, _ = written(models / "phi3-mini-4k", tmp_path / "3.gguf")

    assert (partial["phi3.rope.dimension_count"], partial["phi3.attention.head_count_kv"]) == (12, 2)
    assert (partial["phi3.attention.sliding_window"], window["phi3.attention.sliding_window"]) == (0, WINDOW)


def test_a_name_that_would_change_the_tokens_is_refused(models: Path):
    vocabulary = read_source(models / "phi4-mini").vocabulary

    with pytest.raises(CannotExport, match="without Phi-3"):
        model_name("My Phi-3", vocabulary)


def test_another_architecture_is_refused(models: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text('{"architectures": ["GemmaForCausalLM"]}', encoding="utf-8")

    with pytest.raises(CannotExport, match=r"GemmaForCausalLM.*convert_hf_to_gguf"):
        read_source(tmp_path)
