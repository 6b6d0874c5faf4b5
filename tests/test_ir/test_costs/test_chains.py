"""Chains are sums of four weights that lie eight apart, in whole runs of 32 inputs."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.costs.chains import LARGEST, chains_of, largest_chain


@pytest.mark.parametrize("inputs", [3, 31, 32, 40, 96])
def test_the_largest_chain_is_that_of_the_formula(inputs):
    weight = np.random.default_rng(0).integers(-128, 128, (2, 5, inputs, 9)).astype(np.int8)
    magnitudes = np.abs(weight.astype(int))
    whole = range(0, inputs - 31, 32)
    sums = [magnitudes[:, :, first + lane : first + 32 : 8].sum(axis=2) for first in whole for lane in range(8)]
    expected = np.max(sums, axis=(0, -1)) if sums else np.zeros((2, 5))
    assert np.array_equal(largest_chain(weight), expected)


def test_chains_are_a_view():
    weight = np.zeros((1, 4, 40, 2), np.int8)
    chains_of(weight)[:] = 1
    assert weight[:, :, :32].all() and not weight[:, :, 32:].any()


def test_sixteen_bits_hold_the_largest_sum():
    assert LARGEST * 128 <= np.iinfo(np.int16).max < (LARGEST + 1) * 128
