"""Runs a quantised model's graph in onnxruntime, in the place of a PyTorch model: the same keys, values and logits.

The graph is written by quantization_code, which says what its inputs and outputs are. Each shelf of decoding rows and
each piece of a prompt is one run; keys and values are read and written where the key-value store has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from serving_code.kv_store import Shelf

if TYPE_CHECKING:
    from serving_code.attention import Step

BYTES = 4  # of a float32, as keys and values are


class NoRuntime(ValueError):
    """onnxruntime is not installed."""


@dataclass(frozen=True)
class Output:
    """As transformers returns it: `logits` (1, places, vocabulary)."""

    logits: torch.Tensor


class OnnxModel:
    """A graph with its configuration. A processor only."""

    def __init__(self, graph: Path, config: Any, threads: int | None = None) -> None:
        """Load the graph. `threads`: as many as torch uses, if None. Raises NoRuntime."""
        try:
            import onnxruntime
        except ImportError as e:
            raise NoRuntime(
                f"{graph} needs onnxruntime, which is not installed: pip install 'phi-assets[quantize]'"
            ) from e
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3  # errors
        # Threads that spin while they wait take the processor from other processes.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.config = config
        self.generation_config: Any = None
        heads = config.num_attention_heads
        self._width: int = getattr(config, "head_dim", None) or config.hidden_size // heads
        self._vocabulary: int = config.vocab_size

    @property
    def bytes_per_token(self) -> int:
        """The memory that a token's keys and values take."""
        config = self.config
        return 2 * config.num_hidden_layers * config.num_key_value_heads * self._width * BYTES

    @property
    def layer_weights(self) -> int:
        """The number of weights in the layers."""
        config = self.config
        attention = 2 * (config.num_attention_heads + config.num_key_value_heads) * self._width * config.hidden_size
        return config.num_hidden_layers * (attention + 3 * config.hidden_size * config.intermediate_size)

    def __call__(self, *, input_ids: torch.Tensor, step: Step, logits_to_keep: torch.Tensor, **ignored: Any) -> Output:
        """The logits at the places `logits_to_keep` of the flat row `input_ids` (1, tokens)."""
        del ignored
        ids = input_ids[0].numpy()
        wanted: list[int] = logits_to_keep.tolist()
        found = torch.empty((len(wanted), self._vocabulary), dtype=torch.float32)
        at = filled = 0
        for group in step.decoding:
            rows = group.lengths.shape[0]
            self._run(
                ids[at : at + rows, None],
                group.lengths.to(torch.int32).numpy(),
                group.longest,
                np.zeros(1, np.int64),
                (group.shelf, 0),
                found[filled : filled + rows].unsqueeze(1),
            )
            at, filled = at + rows, filled + rows
        for piece in step.pieces:
            here = [place - at for place in wanted if at <= place < at + piece.tokens]
            end = piece.row.length + piece.tokens
            # A piece in the middle of a prompt needs no logits, and the graph gives at least one.
            kept = found[filled : filled + len(here)] if here else torch.empty((1, self._vocabulary))
            self._run(
                ids[None, at : at + piece.tokens],
                np.array([end - 1], np.int32),
                end,
                np.array(here or [piece.tokens - 1], np.int64),
                (piece.row.shelf, piece.row.slot),
                kept.unsqueeze(0),
            )
            at, filled = at + piece.tokens, filled + len(here)
        return Output(found.unsqueeze(0))

    def _run(
        self,
        ids: np.ndarray,
        last: np.ndarray,
        total: int,
        logits_at: np.ndarray,
        place: tuple[Shelf, int],
        logits: torch.Tensor,
    ) -> None:
        """Run rows that are neighbours in a shelf, from the given slot on; `logits` is written."""
        shelf, slot = place
        binding = self._session.io_binding()
        binding.bind_cpu_input("input_ids", np.ascontiguousarray(ids))
        binding.bind_cpu_input("last_positions", last)
        binding.bind_cpu_input("total_length", np.array(total, np.int32))
        binding.bind_cpu_input("logits_at", logits_at)
        like = torch.empty((1, self.config.num_key_value_heads, 1, self._width), dtype=torch.float32)
        for layer in range(self.config.num_hidden_layers):
            for kind, room in zip(("keys", "values"), shelf.layer(layer, like, like), strict=True):
                own = room[slot : slot + len(ids)]
                shape, address = tuple(own.shape), own.data_ptr()
                binding.bind_input(f"{kind}.{layer}", "cpu", 0, np.float32, shape, address)
                binding.bind_output(f"new_{kind}.{layer}", "cpu", 0, np.float32, shape, address)
        binding.bind_output("logits", "cpu", 0, np.float32, tuple(logits.shape), logits.data_ptr())
        self._session.run_with_iobinding(binding)
