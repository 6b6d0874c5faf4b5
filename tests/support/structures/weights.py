"""Weights that are shared, hidden behind other nodes, or quantized."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, numpy_helper

from tests.support.net import Net


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


def computed_weights(net: Net):
    """Weights that are scaled, folded, joined and widened from half precision before they are used."""
    a, b, c = net.width(), net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    folded = net.op("Reshape", net.op("Mul", net.w(b, a * 9), net.const(0.3, net.dtype)), net.ints(b, a, 3, 3))
    x = net.relu(net.op("Conv", x, folded, net.w(b)))
    halves = net.const(net.rng.standard_normal((c, b, 1)), np.float16)
    joined = net.op("Concat", net.op("Cast", halves, to=TensorProto.FLOAT), net.w(c, b, 1), axis=0)
    x = net.op("Conv", x, net.op("Unsqueeze", joined, net.ints(3)))
    return (net.head(net.relu(x), 2 * c),)


def weight_norm(net: Net):
    """Rows of a weight are divided by their length: rows may go, what they read may not."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    v = net.w(b, a, 3, 3)
    w = net.op("Mul", net.positive(b, 1, 1, 1), net.op("Div", v, net.op("ReduceL2", v, axes=[1, 2, 3])))
    return (net.head(net.relu(net.op("Conv", x, w, net.w(b))), b),)


def low_rank(net: Net):
    """A weight that is a product of two, and one more that is tied to a factor of it."""
    a, b, r = net.width(), net.width(), net.width()
    left, right = net.w(a, r), net.w(r, b)
    x = net.relu(net.linear(net.input("N", 4), 4, a))
    y = net.relu(net.op("MatMul", x, net.op("MatMul", left, right)))
    z = net.relu(net.op("MatMul", net.relu(net.linear(y, b, r)), right))
    return (net.linear(net.op("Add", y, z), b, 3),)


def tied_embedding(net: Net):
    """The table of the tokens makes the answer, too."""
    e, f = net.width(), net.width()
    table = net.w(7, e)
    x = net.op("Gather", table, net.input("N", "S", dtype=np.int64))
    x = net.op("Add", x, net.linear(net.relu(net.linear(x, e, f)), f, e))
    return (net.op("MatMul", x, net.op("Transpose", table, perm=[1, 0])),)


def made_weights(net: Net):
    """One layer's output is the weights of another."""
    a, b = net.width(), net.width()
    x = net.relu(net.linear(net.input("N", 4), 4, a))
    w = net.op("Reshape", net.dense(net.input(1, 2), 2, a * b), net.ints(a, b))
    return (net.op("MatMul", net.relu(net.op("MatMul", x, w)), net.w(b, 2)),)


FAMILIES = (
    shared_weights,
    hidden_weights,
    quantized_weights,
    tokens,
    computed_weights,
    weight_norm,
    low_rank,
    tied_embedding,
    made_weights,
)
