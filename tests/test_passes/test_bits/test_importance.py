import numpy as np
import pytest

from pfir.errors import DataError
from pfir.ir.shapes import infer_shapes
from pfir.passes.bits.importance import importances
from pfir.passes.quantization.placement import layers_of
from tests.support.net import Net


def _net(group):
    net = Net(0)
    net.output("y", net.conv(net.input("N", 4, 6, 6), 4, 4, group=group))
    model = net.model()
    infer_shapes(model)
    return model, layers_of(model)


def _given(scale, count=8):
    x = np.random.default_rng(0).normal(size=(count, 4, 6, 6)).astype(np.float32) * scale.reshape(1, 4, 1, 1)
    return x, lambda model, names: iter([dict.fromkeys(names, x)])


@pytest.mark.parametrize("group", [1, 2, 4])
def test_a_weight_counts_as_much_as_the_input_that_it_multiplies(group):
    model, layers = _net(group)
    x, samples = _given(np.array([1, 2, 4, 8], np.float32))
    (found,) = importances(model, layers, samples).values()
    squares = np.square(x).mean(axis=(0, 2, 3))
    blocks = np.repeat(squares.reshape(group, 1, -1), 4 // group, axis=1).reshape(4, -1)
    assert found.shape == (4, 4 // group, 3, 3)
    assert np.allclose(found / found.max(), np.broadcast_to(blocks[:, :, None, None], found.shape) / blocks.max(), 0.05)


def test_samples_that_tell_nothing_are_refused():
    model, layers = _net(1)
    with pytest.raises(DataError, match="7 calibration samples are too few to weigh errors by; give at least 8"):
        importances(model, layers, _given(np.ones(4, np.float32), count=7)[1])
    with pytest.raises(DataError, match="in0 is NaN or infinite on calibration data; look at the data's scale"):
        importances(model, layers, _given(np.array([1, np.nan, 1, 1], np.float32))[1])
