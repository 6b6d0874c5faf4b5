"""Dead channels of quantized networks: those whose integers stand for zero, and no others."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from pfir.ir.coupling.channels import channel_groups
from pfir.passes.base import Context
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from tests.support.net import Net, feeds
from tests.support.runs import run
from tests.support.structures import build
from tests.support.structures.quantized import MICROSOFT, kernel, lstm, pair, qconv
from tests.test_passes.test_pruning.test_dead_states import removed

# What stands for zero in weights of type uint8; in those of type int8 it is 0.
POINTS = {"quantized_weights": 0, "dynamically_quantized": 7, "quantized_operators": 120, "quantized_residual": 0}


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
    x = net.op(
        "DequantizeLinear",
        net.op("Flatten", net.op("MaxPool", x, kernel_shape=[4, 4])),
        scale,
        net.const(taken, np.uint8),
    )
    return net.model((net.linear(x, 5, 3),))


def test_zero_stays_zero_through_quantization():
    assert list(removed(_between(9, 9)).values()) == [[0, 1]]


@pytest.mark.parametrize("case", [(9, 8, 0.0), (9, 9, 0.31), (9, 7, 0.31), (9, 9, 100.0)])
def test_what_is_surely_rounded_to_one_number_moves_into_the_bias(case):
    assert list(removed(_between(*case)).values()) == [[0, 1]]


def test_what_lies_between_two_integers_is_left_alone():
    """Which of them it becomes is up to the last digit of a division."""
    assert not removed(_between(9, 9, 0.325))


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


def test_integers_of_a_type_that_only_an_attribute_tells_are_followed_where_they_are_zero():
    for value, found in ((0.0, True), (100.0, False)):
        net = Net(0, opset=21)
        kept = np.array([0, 0, 1, 1, 1], np.float32)
        x = net.op("Mul", net.linear(net.input(2, 4), 4, 5), net.const(kept))
        x = net.op("Add", x, net.const(value * (1 - kept)))
        x = net.op("QuantizeLinear", x, net.const(0.05, np.float32), output_dtype=TensorProto.INT16)
        x = net.op("DequantizeLinear", x, net.const(0.05, np.float32))
        assert bool(removed(net.model((net.linear(x, 5, 3),)))) == found


STEPS = {
    "sum": lambda net, x, at: net.op(
        "QLinearAdd", x, *at, net.const([[[3]], [[5]], [[7]], [[2]]], np.uint8), *at, *at, **MICROSOFT
    ),
    "product": lambda net, x, at: net.op("QLinearMul", x, *at, net.const([[[9]]] * 4, np.uint8), *at, *at, **MICROSOFT),
    "join": lambda net, x, at: net.op("QLinearConcat", *at, x, *at, x, *at, axis=2, **MICROSOFT),
    "leaky": lambda net, x, at: net.op("QLinearLeakyRelu", x, *at, *at, alpha=0.2, **MICROSOFT),
    "sigmoid": lambda net, x, at: net.op(
        "QLinearSigmoid", x, *at, net.const(0.01, np.float32), net.const(0, np.uint8), **MICROSOFT
    ),
    "pool": lambda net, x, at: net.op("QLinearAveragePool", x, *at, *at, kernel_shape=[2, 2], **MICROSOFT),
    "mean": lambda net, x, at: net.op("QLinearGlobalAveragePool", x, *at, *at, **MICROSOFT),
    "maximum": lambda net, x, at: net.op("MaxPool", x, kernel_shape=[2, 2]),
    "depthwise": lambda net, x, at: qconv(net, x, at, 4, 4, at, k=1, group=4),
}


@pytest.mark.parametrize("last", ["convolution", "product"])
@pytest.mark.parametrize("step", STEPS)
def test_integers_that_are_constants_move_into_the_bias_of_a_quantized_layer(step, last):
    """Channels that forget their input keep a bias, through one step between quantized layers."""
    net = Net(3)
    at, out = (net.const(0.05, np.float32), net.const(120, np.uint8)), pair(net)
    x = qconv(net, net.op("QuantizeLinear", net.input("N", 3, 4, 4), *at), at, 3, 4, at, k=1)
    x = STEPS[step](net, x, at)
    mid = (net.const(0.01, np.float32), net.const(0, np.uint8)) if step == "sigmoid" else at
    if last == "convolution":
        x = qconv(net, x, mid, 4, 3, out, k=1)
    else:
        x = net.op("QLinearGlobalAveragePool", x, *mid, *mid, **MICROSOFT)
        x = net.op("QGemm", net.op("Flatten", x), *mid, *kernel(net, 4, 3, axis=1), "", *out, **MICROSOFT)
    model = net.model((net.op("DequantizeLinear", x, *out),))
    ints = next(n for n in model.nodes() if n.op == "QLinearConv").inputs[3]
    model.set_arrays({ints.name: ints.values * np.array([0, 0, 1, 1], np.int8).reshape(4, 1, 1, 1)})
    before = run(model, feeds(model))
    assert list(removed(model).values()) == [[0, 1]]
    again = model.clone()
    RemoveDeadChannels().apply(again, Context())
    np.testing.assert_array_equal(run(again, feeds(model))[0], before[0])


def test_states_of_a_quantizing_layer_count_in_its_range_even_if_nothing_reads_them():
    net = Net(1)
    y = lstm(net, net.input(3, 2, 4), 4, 3, [], (1,))
    model = net.model((net.linear(net.op("Squeeze", y, net.ints(1)), 3, 2),))
    (group,) = channel_groups(model).free()
    found = model.initializers()
    for part in group.consuming:
        array = found[part.tensor].values.copy()
        np.moveaxis(array, part.axis, 0)[part.positions[:1].ravel()] = 0
        found[part.tensor].values = array
    assert len(group.consuming) == 2 and not removed(model)
