"""Weights as whole numbers of 8 or 4 bits, with a scale for each block of 32 along a row (symmetric).

The form is that of onnxruntime's operator MatMulNBits: numbers are stored unsigned, and 2^(bits-1) means zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

BLOCK = 32
Bits = Literal[8, 4]


@dataclass(frozen=True)
class Blocks:
    """A weight (rows, columns): `numbers` (rows, blocks, BLOCK * bits / 8) uint8, `scales` (rows, blocks) float32."""

    numbers: np.ndarray
    scales: np.ndarray
    columns: int
    bits: Bits


def quantize(weight: np.ndarray, bits: Bits) -> Blocks:
    """The weight (rows, columns) in blocks; the last block of a row is filled up with zeros."""
    import numpy as np

    rows, columns = weight.shape
    count = -(-columns // BLOCK)
    padded = np.zeros((rows, count * BLOCK), np.float32)
    padded[:, :columns] = weight
    blocks = padded.reshape(rows, count, BLOCK)
    zero = 1 << (bits - 1)
    if bits == 8:
        # Weights that were in this form before (llama.cpp's Q8_0) are kept exactly.
        scales = (np.abs(blocks).max(axis=2) / (zero - 1)).astype(np.float32)
    else:
        # The number of largest magnitude gets the value that has no opposite, -zero: one step more of range.
        largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=2)[..., None], axis=2)[..., 0]
        scales = (largest / -zero).astype(np.float32)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    numbers = np.clip(np.rint(blocks * inverse[..., None]), -zero, zero - 1).astype(np.int16) + zero
    stored = numbers.astype(np.uint8)
    if bits == 4:
        stored = stored[..., 0::2] | (stored[..., 1::2] << 4)
    return Blocks(stored, scales, columns, bits)


def restore(blocks: Blocks) -> np.ndarray:
    """The weight (rows, columns) that the blocks stand for, as float32."""
    import numpy as np

    stored = blocks.numbers
    if blocks.bits == 4:
        low, high = stored & 15, stored >> 4
        stored = np.stack([low, high], axis=-1).reshape(*stored.shape[:2], -1)
    values = (stored.astype(np.float32) - (1 << (blocks.bits - 1))) * blocks.scales[..., None]
    return values.reshape(len(stored), -1)[:, : blocks.columns]
