import numpy as np
import pytest

from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.quantization.equalize import POWERS, equalize
from pfir.passes.quantization.placement import layers_of, place
from tests.support.calibration import context, samples
from tests.support.net import Net, feeds, parsed, random
from tests.support.quantization import random_samples, residual
from tests.support.runs import assert_same, run
from tests.support.structures import FAMILIES, build


def _equalized(net, per_channel=True, power=0.5):
    infer_shapes(net)
    copy = net.clone()
    return copy, equalize(copy, place(copy).tensors, context(copy).activations, per_channel, power)


def _uneven(clip=False):
    """A net whose channels differ a thousandfold."""
    net = Net(0)
    x = net.conv(net.input("N", 3, 8, 8), 3, 6)
    x = net.op("Clip", x, net.const(0, np.float32), net.const(4, np.float32)) if clip else net.relu(x)
    net.output("y", net.head(net.relu(net.conv(x, 6, 5)), 5))
    model = net.model()
    first = next(iter(layers_of(model).values()))
    first.scale_outputs(np.geomspace(0.01, 10, 6), np.zeros(6))
    return model


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("clip", [True, False])
def test_the_function_stays_on_the_calibration_data(per_channel, clip):
    net = _uneven(clip)
    made, changed = _equalized(net, per_channel)
    assert changed > 0
    feeds = samples(net)
    wanted = run(net, feeds)[0]
    np.testing.assert_allclose(run(made, feeds)[0], wanted, atol=1e-4 * np.abs(wanted).max())


def _spread(net, name):
    x = np.concatenate([b[name] for b in context(net).activations(net, [name])])
    top = np.abs(x).max(axis=(0, 2, 3))
    return top.max() / top.min()


def test_channels_of_activations_get_closer_by_a_greater_power():
    net = _uneven()
    spreads = [_spread(_equalized(net, power=power)[0], "relu2") for power in POWERS]
    assert spreads[0] < 0.2 * _spread(net, "relu2")
    assert spreads == sorted(spreads, reverse=True) and spreads[-1] < 1.2


def test_weights_on_both_sides_get_equal_ranges():
    made, _ = _equalized(_uneven(), per_channel=False)
    one, other = (layer.weight for layer in list(layers_of(made).values())[:2])
    ratio = np.abs(one).max(axis=(1, 2, 3)) / np.abs(other).max(axis=(0, 2, 3))
    np.testing.assert_allclose(ratio, 1, rtol=0.1)


def test_a_channel_that_reaches_a_bound_keeps_its_scale():
    net = _uneven(clip=True)
    made, _ = _equalized(net)
    before, after = (next(iter(layers_of(m).values())).weight for m in (net, made))
    x = np.concatenate([b["conv1"] for b in context(net).activations(net, ["conv1"])])
    clipped = x.max(axis=(0, 2, 3)) >= 4
    assert clipped.any() and not clipped.all()
    np.testing.assert_array_equal(after[clipped], before[clipped])
    assert not np.allclose(after[~clipped], before[~clipped])


def test_a_depthwise_layer_takes_factors_on_both_sides():
    net = residual()
    made, changed = _equalized(net)
    assert 8 < changed <= 16
    assert_same(net, made, tolerance=1e-4)


def test_a_net_of_one_layer_stays():
    net = parsed("net (float[N,3] x) => (float[N,2] y) { y = MatMul(x, w) }", w=random(3, 2))
    made, changed = _equalized(net)
    assert not changed
    np.testing.assert_array_equal(made.initializers()["w"].values, net.initializers()["w"].values)


@pytest.mark.parametrize("family", [f for f in FAMILIES if not f.startswith(("half", "double"))])
def test_no_structure_computes_anything_else(family):
    net = build(family, 0)
    FoldBatchNorm().apply(net, Context())
    made = net.clone()
    infer_shapes(made)
    equalize(made, place(made).tensors, random_samples(net).activations)
    inputs = feeds(net)
    for wanted, given in zip(run(net, inputs), run(made, inputs), strict=True):
        np.testing.assert_allclose(given, wanted, atol=1e-4 * max(1.0, float(np.abs(wanted).max(initial=0))))
