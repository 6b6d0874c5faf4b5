"""Weights that are shared, hidden behind other nodes, or quantized."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, numpy_helper

from tests.net import Net


def shared_weights(net: Net):
    a = net.width()
    w, bias = net.w(a, a, 3, 3), net.w(a)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    for _ in range(2):
        x = net.relu(net.op("Conv", x, w, bias, pads=[1, 1, 1, 1]))
    y = net.op("Conv", net.conv(net.input("N", 3, 4, 4), 3, a), w, bias, pads=[1, 1, 1, 1])
    return net.head(x, a), net.head(y, a)


def hidden_weights(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    weight = numpy_helper.from_array(net.rng.standard_normal((b, a, 1, 1)).astype(np.float32))
    constant = net.op("Constant", value=weight)
    x = net.relu(net.op("Conv", x, net.op("Identity", constant)))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    turned = net.op("Cast", net.op("Transpose", net.w(4, b), perm=[1, 0]), to=TensorProto.FLOAT)
    return (net.op("MatMul", net.op("MatMul", x, turned), net.w(4, 2)),)


def quantized_weights(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    ints = net.const(net.rng.integers(-90, 90, (b, a, 3, 3)), np.int8)
    w = net.op("DequantizeLinear", ints, net.positive(b), net.const(np.zeros(b), np.int8), axis=0)
    scale = (net.const(0.05, np.float32), net.const(0, np.int8))
    x = net.op("DequantizeLinear", net.op("QuantizeLinear", x, *scale), *scale)
    return (net.head(net.relu(net.op("Conv", x, w)), b),)


def tokens(net: Net):
    e, f = net.width(), net.width()
    x = net.op("Gather", net.w(7, e), net.input("N", "S", dtype=np.int64))
    x = net.relu(net.linear(x, e, f))
    return (net.op("ReduceSum", net.linear(x, f, 3), net.ints(1), keepdims=0),)


FAMILIES = (
    shared_weights, hidden_weights, quantized_weights, tokens,
)  # fmt: skip
