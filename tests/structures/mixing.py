"""What mixes channels: reductions, norms, maxima, sums of products."""

from __future__ import annotations

import numpy as np

from tests.net import Net


def reductions(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    summed = net.op("ReduceSum", x, net.ints(1), keepdims=1)
    norm = net.op("ReduceL2", net.conv(x, a, b), axes=[1], keepdims=0)
    beside = net.op("ReduceMax", x, axes=[2, 3], keepdims=0)
    scaled = net.op("LpNormalization", x, axis=1, p=2)
    return summed, norm, net.dense(beside, a, 2), net.conv(scaled, a, 2)


def mean_over_channels(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    y = net.relu(net.conv(x, a, b))
    gate = net.op("Sigmoid", net.op("ReduceMean", y, axes=[1], keepdims=1))
    return (net.op("Mul", gate, net.conv(y, b, 2)),)


def feed_forward_norm(net: Net):
    """LayerNorm spelt out: the mean over the width fixes it, the feed-forward width is free."""
    e, f = net.width(), net.width()
    x = net.linear(net.input("N", "S", 4), 4, e)
    mean = net.op("ReduceMean", x, axes=[-1], keepdims=1)
    centred = net.op("Sub", x, mean)
    spread = net.op("ReduceMean", net.op("Mul", centred, centred), axes=[-1], keepdims=1)
    n = net.op("Div", centred, net.op("Sqrt", net.op("Add", spread, net.const(1e-5, np.float32))))
    return (net.linear(net.relu(net.linear(n, e, f)), f, 3),)


def group_norm(net: Net):
    g, n = 2, net.width()
    x = net.conv(net.input("N", 3, 4, 4), 3, 3 * n)
    x = net.op("GroupNormalization", x, net.positive(3 * n), net.w(3 * n), num_groups=3)
    y = net.op("Reshape", net.conv(x, 3 * n, g * n), net.ints(0, g, -1))
    y = net.op("InstanceNormalization", y, net.positive(g), net.w(g))
    y = net.op("Reshape", y, net.ints(0, g * n, 4, 4))
    return (net.head(net.relu(y), g * n),)


def instance_norm(net: Net):
    a, b = net.width(), net.width()
    x = net.op("InstanceNormalization", net.conv(net.input("N", 3, 4, 4), 3, a), net.positive(a), net.w(a))
    return (net.head(net.op("LRN", net.conv(x, a, b), size=3), b),)


def einsum(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.linear(net.input("N", "S", 4), 4, a))
    y = net.op("Einsum", x, net.w(a, b), equation="nsa,ab->nsb")
    return (net.linear(y, b, 3),)


def stacked_matmul(net: Net):
    a, b = net.width(), net.width()
    x = net.op("MatMul", net.input(3, 2, 4), net.w(3, 4, a))
    x = net.op("MatMul", net.relu(x), net.w(3, a, b))
    return (net.op("MatMul", net.relu(x), net.w(b)),)


def maxout(net: Net):
    a = net.width()
    x = net.input("N", 3, 4, 4)
    y = net.op("Max", net.conv(x, 3, a), net.conv(x, 3, a), net.conv(x, 3, a))
    z = net.conv(y, a, 2 * a)
    z = net.op("ReduceMax", net.op("Reshape", z, net.ints(0, a, 2, 4, 4)), axes=[2], keepdims=0)
    return (net.head(z, a),)


FAMILIES = (
    reductions, mean_over_channels, feed_forward_norm, group_norm, instance_norm, einsum, stacked_matmul, maxout,
)  # fmt: skip
