import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pfir.errors import DataError
from pfir.passes.quantization.ranges import MOST_BINS, Histogram, observe
from tests.support.calibration import context
from tests.support.net import parsed, random

ARRAYS = st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20), min_size=1, max_size=6)


def _of(arrays):
    histogram = Histogram()
    for values in arrays:
        histogram.add(np.array(values, np.float32))
    return histogram


@given(ARRAYS)
def test_every_value_is_counted_once_and_the_ends_are_exact(arrays):
    histogram, values = _of(arrays), np.concatenate([np.array(a, np.float32) for a in arrays])
    assert (histogram.low, histogram.high) == (values.min(), values.max())
    assert histogram.zeros == (values == 0).sum()
    assert histogram.counts.sum() + histogram.zeros == values.size
    assert histogram.counts.size <= MOST_BINS


@given(ARRAYS)
def test_values_lie_in_their_bins_whatever_the_order(arrays):
    histogram, turned = _of(arrays), _of(arrays[::-1])
    there = {float(c): int(n) for c, n in zip(histogram.centres, histogram.counts, strict=True) if n}
    assert there == {float(c): int(n) for c, n in zip(turned.centres, turned.counts, strict=True) if n}
    values = np.concatenate([np.array(a, np.float32) for a in arrays])
    if values.any():
        width = histogram.centres[1] - histogram.centres[0] if histogram.counts.size > 1 else np.inf
        nearest = np.abs(values[values != 0, None] - np.array(list(there))).min(axis=1)
        assert (nearest <= 0.5001 * width).all()


def test_bins_are_fine_enough_for_eight_bits():
    histogram = _of([np.linspace(-1, 1, 5000)] * 2)
    assert histogram.counts.size > MOST_BINS // 4


def test_of_large_arrays_some_values_count_but_the_ends_are_of_all():
    x = np.ones(5_000_000, np.float32)
    x[1] = 7
    histogram = _of([x])
    assert histogram.high == 7 and 500_000 < histogram.counts.sum() < 2_000_000


def test_a_constant_is_known_for_one():
    assert _of([[3.0, 3.0], [3.0]]).is_constant and not _of([[3.0], [2.0]]).is_constant


NET = "net (float[N,3] x) => (float[N,2] y) { t = MatMul(x, w)  y = Relu(t) }"


def test_tensors_of_a_model_are_observed():
    net = parsed(NET, w=random(3, 2))
    found = observe(net, ("t", "x"), context(net).activations)
    assert found["t"].counts.sum() == 48 * 2 and found["x"].counts.sum() == 48 * 3


def test_nan_is_refused_with_the_tensor_and_its_node():
    net = parsed("net (float[N,3] x) => (float[N,3] y) { t = Log(x)  y = Relu(t) }")
    with pytest.raises(DataError, match="tensor t, made by Log .*, is NaN or infinite on calibration data"):
        observe(net, ("t",), context(net).activations)


def test_nan_in_the_data_is_that_of_the_input():
    net = parsed(NET, w=random(3, 2))
    with pytest.raises(DataError, match="tensor x, the graph's input, is NaN"):
        observe(net, ("x",), lambda m, names: iter([{"x": np.full((8, 3), np.nan, np.float32)}]))


def test_too_few_samples_are_refused():
    net = parsed(NET, w=random(3, 2))
    with pytest.raises(DataError, match="3 calibration samples are too few"):
        observe(net, ("x",), lambda m, names: iter([{"x": np.ones((3, 3), np.float32)}]))
