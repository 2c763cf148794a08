"""Weights in blocks of whole numbers: what is lost, and what is not."""

import numpy as np
import pytest

from quantization_code.blocks import BLOCK, quantize, restore


@pytest.mark.parametrize(("bits", "steps"), [(8, 127), (4, 7)])
@pytest.mark.parametrize("columns", [BLOCK, 2 * BLOCK, BLOCK + 5])
def test_no_weight_is_off_by_more_than_a_step_of_its_block(bits, steps, columns):
    weight = np.random.default_rng(0).normal(size=(6, columns)).astype(np.float32)

    found = restore(quantize(weight, bits))

    largest = np.abs(weight).max()
    assert found.shape == weight.shape
    assert np.abs(found - weight).max() <= largest / steps * 1.01


def test_zeros_stay_zeros():
    assert not restore(quantize(np.zeros((2, BLOCK), np.float32), 8)).any()


def test_a_weight_of_whole_steps_is_kept_exactly():
    weight = np.arange(-8, 8, dtype=np.float32).repeat(2)[None] / 4

    np.testing.assert_array_equal(restore(quantize(weight, 4)), weight)


def test_one_large_weight_does_not_coarsen_another_block():
    weight = np.full((1, 2 * BLOCK), 0.01, np.float32)
    weight[0, 0] = 100.0

    assert np.abs(restore(quantize(weight, 8))[0, BLOCK:] - 0.01).max() < 1e-4
