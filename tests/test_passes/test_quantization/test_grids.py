import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir.passes.quantization.grids import Grid, WeightGrid, grid_between

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(NUMBERS, NUMBERS, st.integers(2, 8))
def test_zero_is_exact_and_nothing_in_range_is_off_by_more_than_a_step(one, other, bits):
    low, high = sorted((one, other))
    grid = grid_between(low, high, bits)
    x = np.linspace(min(low, 0), max(high, 0), 50)
    assert grid.nearest(np.zeros(1)) == 0
    assert 0 <= grid.zero_point <= grid.high == 2**bits - 1
    assert np.abs(grid.nearest(x) - x).max() <= grid.scale * (1 + 1e-3)


def test_values_beyond_the_range_become_its_ends():
    grid = grid_between(-1.0, 3.0, 8)
    np.testing.assert_allclose(grid.nearest(np.array([-9.0, 9.0])), grid.bounds)
    np.testing.assert_allclose(grid.bounds, (-1, 3), atol=grid.scale)


def test_a_range_of_nothing_still_has_a_scale():
    assert grid_between(0.0, 0.0).scale > 0
    assert grid_between(0.0, 0.0).nearest(np.zeros(3)).tolist() == [0, 0, 0]


def test_a_grid_rounds_half_to_even_as_onnx_does():
    assert Grid(1.0, 0).nearest(np.array([0.5, 1.5, 2.5])).tolist() == [0, 2, 2]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_integers_of_weights_are_symmetric_and_the_nearest(bits):
    weight = np.random.default_rng(0).normal(size=(6, 4, 3)).astype(np.float32)
    grid = WeightGrid(np.full(4, np.abs(weight).max() / (2 ** (bits - 1) - 1), np.float32), 1, bits)
    integers = grid.integers(weight)
    assert integers.dtype == np.int8 and np.abs(integers).max() == grid.limit == 2 ** (bits - 1) - 1
    assert np.abs(grid.numbers(integers) - weight).max() <= 0.5001 * grid.scale.max()


def test_each_channel_has_the_scale_of_its_axis():
    grid = WeightGrid(np.array([1.0, 0.5], np.float32), 1)
    assert grid.numbers(np.ones((3, 2), np.int8)).tolist() == [[1.0, 0.5]] * 3
    assert WeightGrid(np.float32(2).reshape(()), 0).numbers(np.ones((3, 2), np.int8)).tolist() == [[2.0, 2.0]] * 3
