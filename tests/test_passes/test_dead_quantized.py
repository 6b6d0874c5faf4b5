"""Dead channels of quantized networks: those whose integers stand for zero, and no others."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.channels import channel_groups
from tests.structures import Net, build
from tests.test_passes.test_dead_states import removed

# What stands for zero in weights of type uint8; in those of type int8 it is 0.
POINTS = {"quantized_weights": 0, "dynamically_quantized": 7, "quantized_operators": 120}


def kill(model, family, how):
    """Make the first channels of every group dead by what makes or by what reads them."""
    arrays, killed = {n: t.values.copy() for n, t in model.initializers().items()}, {}
    for group in channel_groups(model).free():
        killed[group.name] = list(range(group.size // 2))
        for part in group.producing if how == "producers" else group.consuming:
            array = arrays[part.tensor]
            zero = POINTS[family] if array.dtype == np.uint8 else 0
            np.moveaxis(array, part.axis, 0)[part.positions[: group.size // 2].ravel()] = zero
    model.set_arrays(arrays)
    return {name: channels for name, channels in killed.items() if channels}


@pytest.mark.parametrize("how", ["producers", "consumers"])
@pytest.mark.parametrize("family", POINTS)
def test_channels_whose_integers_are_zero_points_are_dead(family, how):
    for seed in (1, 2):
        model = build(family, seed)
        assert not removed(model)
        killed = kill(model, family, how)
        found = removed(model)
        if how == "consumers" and family == "dynamically_quantized":
            # Before integers are made in the range of a run, every number counts, read or not.
            killed = {name: channels for name, channels in killed.items() if name == "ConvInteger_11"}
        assert {name: found.get(name) for name in killed} == killed


def _between(made, taken, constant=0.0):
    """Channels, the first two of them constant, quantized with one zero point and read with another."""
    net = Net(0)
    kept = net.const(np.array([0, 0, 1, 1, 1]).reshape(5, 1, 1), np.float32)
    x = net.op("Mul", net.conv(net.input("N", 3, 4, 4), 3, 5), kept)
    x = net.op("Add", x, net.const(constant * (1 - np.array([0, 0, 1, 1, 1]).reshape(5, 1, 1)), np.float32))
    scale = net.const(0.05, np.float32)
    x = net.op("QuantizeLinear", x, scale, net.const(made, np.uint8))
    x = net.op("DequantizeLinear", net.op("Flatten", net.op("MaxPool", x, kernel_shape=[4, 4])), scale,
               net.const(taken, np.uint8))  # fmt: skip
    return net.model((net.linear(x, 5, 3),))


def test_zero_stays_zero_through_quantization():
    assert list(removed(_between(9, 9)).values()) == [[0, 1]]


@pytest.mark.parametrize("case", [(9, 8, 0.0), (9, 9, 0.3)])
def test_what_is_rounded_to_another_number_is_left_alone(case):
    assert not removed(_between(*case))


def test_a_constant_moves_into_the_bias_of_a_layer_with_quantized_weights():
    """Its weights are dequantized, its input is not."""
    net = Net(0)
    x = net.op("Sigmoid", net.linear(net.input("N", 4), 4, 5))
    ints = net.const(net.rng.integers(-90, 90, (5, 3)), np.int8)
    w = net.op("DequantizeLinear", ints, net.positive(3), net.const([3, 0, -3], np.int8))
    model = net.model((net.op("Gemm", x, net.op("Identity", w), net.w(3)),))
    arrays = {"c0": model.initializers()["c0"].values.copy()}
    arrays["c0"][:, :2] = 0
    model.set_arrays(arrays)
    assert removed(model) == {"MatMul_1": [0, 1]}


def test_a_product_that_takes_another_integer_for_zero_makes_something_of_zeros():
    """Its first two results come from a channel that is zero, and so from the zero point, which it does not take."""
    net = Net(0)
    x = net.op("Mul", net.linear(net.input("N", 4), 4, 5), net.const([0, 1, 1, 1, 1], np.float32))
    ints, *_ = net.op("DynamicQuantizeLinear", x, outs=3)
    weights = net.rng.integers(1, 90, (5, 4))
    weights[1:, :2] = 0
    y = net.op("Cast", net.op("MatMulInteger", ints, net.const(weights, np.uint8)), to=1)
    model = net.model((net.linear(net.op("Mul", y, net.const(1e-4, np.float32)), 4, 3),))
    assert "MatMulInteger_5" in {g.name for g in channel_groups(model).free()}
    assert not removed(model)


def test_behind_operators_of_onnx_runtime_what_is_always_zero_is_left_alone():
    """Their integers are not followed as constants."""
    model = build("quantized_residual", 1)
    group = channel_groups(model).group("Conv_1")
    arrays = {p.tensor: model.initializers()[p.tensor].values.copy() for p in group.producing}
    for part in group.producing:
        np.moveaxis(arrays[part.tensor], part.axis, 0)[0] = 0
    model.set_arrays(arrays)
    assert not removed(model)
