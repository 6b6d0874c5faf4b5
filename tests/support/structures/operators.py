"""Operators from elsewhere, or without a rule: local functions, other domains."""

from __future__ import annotations

import numpy as np
from onnx import helper

from tests.support.net import Net


def local_function(net: Net):
    a, b = net.width(), net.width()
    body = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    net.functions.append(helper.make_function("local", "Act", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    return (net.head(net.op("Act", net.conv(x, a, b), domain="local"), b),)


def microsoft(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Gelu", net.op("MatMul", net.input("N", 4), net.w(4, a)), domain="com.microsoft")
    x = net.op("BiasGelu", net.op("MatMul", x, net.w(a, b)), net.w(b), domain="com.microsoft")
    return (net.dense(x, b, 3),)


def unknown(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(2, 3, 4, 4), 3, a))
    y = net.op("SequenceAt", net.op("SequenceConstruct", net.conv(x, a, b)), net.const(0, np.int64))
    return (net.head(y, b),)


def microsoft_attention(net: Net):
    """Fused attention, once with its weights and once without, sums that are normalised, and a transposed product."""
    h, d, f = net.width(), net.width(), net.width()
    e = h * d
    x = net.linear(net.input(2, 3, 4), 4, e)
    y = net.op("Attention", x, net.w(e, 3 * e), net.w(3 * e), domain="com.microsoft", num_heads=h)
    y = net.op("SkipLayerNormalization", x, net.linear(y, e, e), net.positive(e), net.w(e), domain="com.microsoft")
    q, k, v = net.linear(y, e, e), net.linear(y, e, e), net.linear(y, e, 2 * h)
    z = net.linear(net.op("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=h), 2 * h, f)
    return (net.op("FusedMatMul", z, net.w(3, f), domain="com.microsoft", transB=1, alpha=0.5),)


def microsoft_convolutions(net: Net):
    """Convolutions with their activation, the second one with a residual sum in it."""
    a, fused = net.width(), {"domain": "com.microsoft", "activation": "Relu"}
    x = net.op("FusedConv", net.input("N", 3, 4, 4), net.w(a, 3, 3, 3), net.w(a), **fused)
    return (net.head(net.op("FusedConv", x, net.w(a, a, 1, 1), net.w(a), x, **fused), a),)


def by_index(net: Net):
    """Positions of a sequence are turned around, ranked, picked, written and masked; channels pass beside them."""
    a, b = net.width(), net.width()
    x = net.relu(net.linear(net.input(2, 3, 4), 4, a))
    x = net.op("ReverseSequence", x, net.ints(2, 3), time_axis=1, batch_axis=0)
    largest, _ = net.op("TopK", x, net.ints(2), axis=1, outs=2)
    where = net.const([[0, 1], [1, 0]], np.int64)
    x = net.op("ScatterND", x, where, net.op("GatherND", largest, where))
    x = net.op("Compress", net.linear(x, a, b), net.const([True, False, True], np.bool_), axis=1)
    rows = net.const(np.zeros((2, 2, b)), np.int64)
    x = net.op("ScatterElements", net.op("Neg", x), rows, net.op("GatherElements", x, rows, axis=1), axis=1)
    turned = net.op("Trilu", net.op("Transpose", net.op("Unsqueeze", x, net.ints(0)), perm=[0, 3, 1, 2]))
    return (net.linear(net.op("Transpose", turned, perm=[0, 2, 3, 1]), b, 3),)


def sampled(net: Net):
    """Maps are looked at along a grid and in boxes."""
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    boxes = net.const([[0, 0, 3, 3], [1, 1, 2, 2]], np.float32), net.const([0, 1], np.int64)
    boxed = net.op("RoiAlign", x, *boxes, output_height=3, output_width=3)
    seen = net.op("Add", net.op("GridSample", x, net.input("N", 3, 3, 2)), boxed)
    return (net.conv(net.op("CastLike", net.op("Cast", seen, to=11), x), a, 2),)


def dynamically_quantized(net: Net):
    """As ONNX Runtime quantizes products: activations in the range of the run, integer weights, scales afterwards."""
    a, b = net.width(), net.width()
    x = net.relu(net.linear(net.input("N", 4), 4, a))
    weights = net.const(net.rng.integers(-90, 90, (a, b)), np.int8), net.const(np.zeros(b), np.int8)
    ints, scale, zero = net.op("DynamicQuantizeLinear", x, outs=3)
    y = net.op("Cast", net.op("MatMulInteger", ints, weights[0], zero, weights[1]), to=1)
    y = net.op("Mul", y, net.op("Mul", scale, net.const(net.rng.uniform(0.01, 0.02, b), np.float32)))
    ints, scale, zero = net.op("DynamicQuantizeLinear", net.op("Reshape", y, net.ints(0, b, 1, 1)), outs=3)
    kernel = net.const(net.rng.integers(-90, 90, (a, b, 1, 1)), np.uint8)
    z = net.op("Cast", net.op("ConvInteger", ints, kernel, zero, net.const(7, np.uint8)), to=1)
    return (net.head(net.op("Mul", z, net.op("Mul", scale, net.const(0.01, np.float32))), a),)


FAMILIES = (
    local_function,
    microsoft,
    unknown,
    microsoft_attention,
    microsoft_convolutions,
    by_index,
    sampled,
    dynamically_quantized,
)
