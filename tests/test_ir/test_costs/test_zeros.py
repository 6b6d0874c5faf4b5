"""Patterns of zeros: which are worth a name, what they leave to do, and that costs know those that a backend sees."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.costs.zeros import zeros_of
from pfir.workload import BLOCK_SHAPES, UNIT_SHAPES


def _matrix(share: float, inputs: int = 40, outputs: int = 16, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    kept = random.random((inputs, outputs // 4)) >= share
    return (random.standard_normal((inputs, outputs)) * kept.repeat(4, axis=1)).astype(np.float32)


@pytest.mark.parametrize(
    "matrix",
    (_matrix(0.0), _matrix(0.15), _matrix(0.8)[:, :14], _matrix(0.8).astype(np.float16), _matrix(0.8)[:0]),
    ids=("dense", "too few", "not of whole blocks", "not float32", "empty"),
)
def test_a_matrix_without_enough_zeros_has_no_pattern(matrix):
    assert zeros_of(matrix) is None


def test_equal_patterns_have_equal_names_whatever_the_weights():
    matrix = _matrix(0.8)
    assert zeros_of(matrix) == zeros_of(3 * matrix)
    assert zeros_of(matrix).name != zeros_of(_matrix(0.8, seed=1)).name
    assert zeros_of(matrix).sizes == (40, 16)


def test_rounds_are_those_over_each_column_of_blocks():
    matrix = np.zeros((10, 8), np.float32)
    matrix[:5, :4], matrix[9, 4:] = 1, 1
    rounds = dict(zip(BLOCK_SHAPES, zeros_of(matrix).rounds, strict=True))
    assert rounds == {(4, 2): 3 + 1, (4, 4): 2 + 1, (8, 2): 3, (8, 4): 2, (16, 2): 0, (16, 4): 0}


def test_units_of_integers_are_counted_for_each_of_their_sizes():
    matrix = np.zeros((16, 8), np.int8)
    matrix[0, 0] = matrix[5, 1] = matrix[13, 7] = 1
    units = dict(zip(UNIT_SHAPES, zeros_of(matrix).rounds, strict=True))
    assert {shape: count for shape, count in units.items() if count} == {
        (4, 4): 3,
        (8, 4): 3,
        (4, 8): 2,
        (8, 8): 2,
        (4, 16): 2,
        (8, 16): 1,
    }
