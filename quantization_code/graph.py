"""The ONNX graph of a Phi3ForCausalLM: the layers of transformers' modeling_phi3.py, with quantised weights.

Inputs: `input_ids` (rows, tokens) int64; `last_positions` (rows) int32, the position of each row's last token;
`total_length` () int32, the most tokens that a row has after this run; `logits_at` (places) int64, the places in
`tokens` whose logits are wanted; and for each layer `keys.N` and `values.N` (rows, heads, room, width) float32.
Outputs: `logits` (rows, places, vocabulary), and `new_keys.N` and `new_values.N`, which share the inputs' memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quantization_code.blocks import BLOCK, Bits, quantize
from quantization_code.errors import CannotQuantize

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from quantization_code.weights import Weights

OPSET, CONTRIB = 21, "com.microsoft"
# Activations are rounded to int8, block by block, for the multiplications: the processor has instructions for that.
ACCURACY_LEVEL = 4


class Graph:
    """Collects nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._number = 0

    def add(self, kind: str, inputs: list[str], outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node; returns the names of its outputs."""
        from onnx import helper

        self._number += 1
        names = [f"{kind}_{self._number}_{place}" for place in range(outputs)]
        self.nodes.append(
            helper.make_node(kind, inputs, names, name=f"{kind}_{self._number}", domain=domain, **attributes)
        )
        return names

    def weight(self, name: str, values: np.ndarray) -> str:
        """Add a weight; returns its name."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def matmul(self, name: str, value: str, weight: np.ndarray, bits: Bits) -> str:
        """Multiply by a quantised weight (out, in)."""
        blocks = quantize(weight, bits)
        numbers, scales = self.weight(f"{name}.numbers", blocks.numbers), self.weight(f"{name}.scales", blocks.scales)
        return self.add(
            "MatMulNBits",
            [value, numbers, scales],
            domain=CONTRIB,
            K=weight.shape[1],
            N=weight.shape[0],
            bits=bits,
            block_size=BLOCK,
            accuracy_level=ACCURACY_LEVEL,
        )[0]


def build(config: Any, weights: Weights, bits: Bits, longest: int, scales: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """The graph of a model for at most `longest` tokens.

    `scales` are those of `smoothing_scales`; a matrix without any is quantised as it is.
    """
    import numpy as np
    from onnx import TensorProto, helper

    graph, epsilon = Graph(), float(config.rms_norm_eps)
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    cosines, sines = rotary_tables(config, longest)
    cos, sin = graph.weight("cosines", cosines), graph.weight("sines", sines)
    embedding = weights.read("model.embed_tokens.weight")
    hidden = graph.add("Gather", [graph.weight("model.embed_tokens.weight", embedding), "input_ids"])[0]
    skip, made = "", []
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}"

        def read(name: str, at: str = at) -> np.ndarray:
            return weights.read(f"{at}.{name}.weight")

        def scale(name: str, at: str = at) -> np.ndarray:
            return scales.get(f"{at}.{name}", np.ones(1, np.float32))

        attention, mlp, down = scale("self_attn.qkv_proj"), scale("mlp.gate_up_proj"), scale("mlp.down_proj")
        gain = graph.weight(f"{at}.input_layernorm", read("input_layernorm") / attention)
        if not skip:
            normed = graph.add("SimplifiedLayerNormalization", [hidden, gain], axis=-1, epsilon=epsilon, stash_type=1)[
                0
            ]
        else:
            normed, _, _, hidden = graph.add(
                "SkipSimplifiedLayerNormalization", [hidden, skip, gain], 4, CONTRIB, epsilon=epsilon
            )
        packed = graph.matmul(f"{at}.qkv_proj", normed, read("self_attn.qkv_proj") * attention, bits)
        attended, *present = graph.add(
            "GroupQueryAttention",
            [packed, "", "", f"keys.{layer}", f"values.{layer}", "last_positions", "total_length", cos, sin],
            3,
            CONTRIB,
            num_heads=heads,
            kv_num_heads=kv_heads,
            do_rotary=1,
            local_window_size=config.sliding_window or -1,
            scale=float(width**-0.5),
        )
        made += present
        skip = graph.matmul(f"{at}.o_proj", attended, read("self_attn.o_proj"), bits)
        gain = graph.weight(f"{at}.post_attention_layernorm", read("post_attention_layernorm") / mlp)
        normed, _, _, hidden = graph.add(
            "SkipSimplifiedLayerNormalization", [hidden, skip, gain], 4, CONTRIB, epsilon=epsilon
        )
        gate_up = read("mlp.gate_up_proj") * mlp
        gate_up[len(gate_up) // 2 :] /= down[:, None]  # the rows of `up`, which are the channels of `down`
        both = graph.matmul(f"{at}.gate_up_proj", normed, gate_up, bits)
        gate, up = graph.add("Split", [both], 2, axis=-1, num_outputs=2)
        active = graph.add("QuickGelu", [gate], domain=CONTRIB, alpha=1.0)[0]  # with 1.0 it is SiLU
        product = graph.add("Mul", [active, up])[0]
        skip = graph.matmul(f"{at}.down_proj", product, read("mlp.down_proj") * down, bits)
    last = scales.get("lm_head", np.ones(1, np.float32))
    gain = graph.weight("model.norm", weights.read("model.norm.weight") / last)
    normed = graph.add("SkipSimplifiedLayerNormalization", [hidden, skip, gain], 1, CONTRIB, epsilon=epsilon)[0]
    wanted = graph.add("Gather", [normed, "logits_at"], axis=1)[0]
    head = embedding if config.tie_word_embeddings else weights.read("lm_head.weight")
    logits = graph.matmul("lm_head", wanted, head * last, 8)

    def value(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, list(shape))

    stored = [("keys", layer) for layer in range(config.num_hidden_layers)]
    stored = [(kind, layer) for _, layer in stored for kind in ("keys", "values")]
    for name, (kind, layer) in zip(made, stored, strict=True):
        rename(graph.nodes, name, f"new_{kind}.{layer}")
    rename(graph.nodes, logits, "logits")
    room = ("rows", kv_heads, "room", width)
    proto = helper.make_graph(
        graph.nodes,
        "phi3",
        [
            value("input_ids", TensorProto.INT64, "rows", "tokens"),
            value("last_positions", TensorProto.INT32, "rows"),
            value("total_length", TensorProto.INT32),
            value("logits_at", TensorProto.INT64, "places"),
            *(value(f"{kind}.{layer}", TensorProto.FLOAT, *room) for kind, layer in stored),
        ],
        [
            value("logits", TensorProto.FLOAT, "rows", "places", config.vocab_size),
            *(value(f"new_{kind}.{layer}", TensorProto.FLOAT, *room) for kind, layer in stored),
        ],
        initializer=graph.weights,
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=10, producer_name="quantization_code")


def rename(nodes: list[onnx.NodeProto], old: str, new: str) -> None:
    """Give an output another name; nothing reads it."""
    for node in nodes:
        for place, name in enumerate(node.output):
            if name == old:
                node.output[place] = new


def refuse_unknown(config: Any) -> None:
    """Raises CannotQuantize unless the model is what `build` writes."""
    kind = (config.architectures or ["?"])[0]
    if kind != "Phi3ForCausalLM":
        raise CannotQuantize(
            f"the model is a {kind}, and only a Phi3ForCausalLM is quantised: set PHI_QUANTIZE=off, or use a Phi-3, "
            "Phi-3.5, Phi-4-mini or packaged base model"
        )
    if config.hidden_act != "silu":
        raise CannotQuantize(f"the model's activation is {config.hidden_act}, not silu: set PHI_QUANTIZE=off")


def rotary_tables(config: Any, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of each position, (longest, half of the rotated width), as transformers computes them."""
    import torch
    from transformers.models.phi3.modeling_phi3 import Phi3RotaryEmbedding

    positions = torch.arange(longest)[None]
    cos, sin = Phi3RotaryEmbedding(config)(torch.zeros(1, dtype=torch.float32), positions)
    half = cos.shape[-1] // 2
    if half % 8:
        raise CannotQuantize(
            f"the model rotates {2 * half} of a head's dimensions, and onnxruntime takes multiples of 16: set "
            "PHI_QUANTIZE=off"
        )
    return cos[0, :, :half].contiguous().numpy(), sin[0, :, :half].contiguous().numpy()
