import numpy as np
import pytest

from pfir.ir.costs.chains import LARGEST, largest_chain
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.weights import LARGEST_BIAS, weight_grid, with_room_for_bias, with_room_for_sums
from tests.support.net import Net, parsed, random


def _layer(weight):
    net = parsed("net (float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }", w=weight)
    return next(iter(layers_of(net).values()))


def _error(layer, grid):
    return float(np.square(grid.numbers(grid.integers(layer.weight)) - layer.weight).sum())


@pytest.mark.parametrize("per_channel", [True, False])
def test_scales_that_clip_nothing_reach_the_largest_weight(per_channel):
    layer = _layer(random(3, 4))
    grid = weight_grid(layer, 8, per_channel, least_error=False)
    largest = np.abs(layer.weight).max(axis=0 if per_channel else None)
    np.testing.assert_allclose(grid.scale, largest / 127, rtol=1e-6)
    assert grid.scale.shape == ((4,) if per_channel else ())


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_a_search_never_errs_more_and_at_few_bits_less(bits):
    layer = _layer(np.random.default_rng(0).laplace(size=(3, 4)).astype(np.float32))
    plain, searched = (_error(layer, weight_grid(layer, bits, True, least)) for least in (False, True))
    assert searched <= plain * 1.0001 and (bits > 3 or searched < plain)


def test_a_channel_of_zeros_has_a_scale():
    weight = random(3, 4)
    weight[:, 1] = 0
    layer = _layer(weight)
    for least in (False, True):
        grid = weight_grid(layer, 8, True, least)
        assert (grid.scale > 0).all() and not grid.integers(weight)[:, 1].any()


def test_grouped_transposed_convolutions_have_a_scale_for_each_channel_of_a_group():
    net = Net(0)
    net.output("y", net.op("ConvTranspose", net.input("N", 4, 5, 5), net.w(4, 3, 2, 2), group=2))
    layer = next(iter(layers_of(net.model()).values()))
    assert weight_grid(layer, 8, True, False).scale.shape == (3,)


def test_scales_grow_where_a_bias_would_not_fit():
    layer = _layer(random(3, 4))
    grid = weight_grid(layer, 8, True, False)
    bias = np.array([0.0, 1.0, -1e9, 1e12])
    roomy = with_room_for_bias(grid, bias, 1e-4)
    assert (np.abs(bias) / (roomy.scale.astype(np.float64) * 1e-4) <= LARGEST_BIAS * 1.0001).all()
    assert (roomy.scale[:2] == grid.scale[:2]).all() and roomy.scale[3] > grid.scale[3]
    assert with_room_for_bias(weight_grid(layer, 8, False, False), bias, 1e-4).scale == roomy.scale[3]


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("least", [True, False])
def test_scales_grow_where_16_bits_would_not_hold_four_products(per_channel, least):
    net, weight = Net(0), np.random.default_rng(0).normal(size=(6, 64, 3, 3)).astype(np.float32)
    weight[:2, ::8] = 3.0 * np.sign(weight[:2, ::8])
    net.output("y", net.op("Conv", net.input("N", 64, 5, 5), net.const(weight)))
    layer = next(iter(layers_of(net.model()).values()))
    grid = weight_grid(layer, 8, per_channel, least)
    roomy = with_room_for_sums(grid, layer)
    longest, before = (largest_chain(g.integers(weight).reshape(6, 64, 9)) for g in (roomy, grid))
    assert before.max() > LARGEST and LARGEST - 8 < longest.max() <= LARGEST
    if per_channel:
        assert ((roomy.scale > grid.scale) == (before > LARGEST)).all()
    few = weight_grid(layer, 7, per_channel, least)
    assert np.array_equal(with_room_for_sums(few, layer).scale, few.scale)
