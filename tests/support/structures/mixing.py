"""What mixes channels: reductions, norms, maxima, sums of products."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


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


def dynamic_group_norm(net: Net):
    """GroupNorm as exporters write it, on an image of any size: whole groups go."""
    g = net.width()
    a = g * 3
    x = net.conv(net.input("N", 3, "H", "W"), 3, a)
    y = net.op("Reshape", x, net.ints(0, g, -1))
    y = net.op("InstanceNormalization", y, net.positive(g), net.w(g))
    y = net.op("Reshape", y, net.op("Shape", x))
    return (net.head(net.relu(net.op("Add", net.op("Mul", y, net.w(a, 1, 1)), net.w(a, 1, 1))), a),)


def non_local(net: Net):
    """Places of an image attend to each other; the inner widths are those of q with k, and of v."""
    a, b, c = net.width(), net.width(), net.width()
    x = net.conv(net.input("N", 3, 4, 4), 3, a)
    q, k = (net.op("Reshape", net.conv(x, a, b, k=1), net.ints(0, b, -1)) for _ in range(2))
    v = net.op("Reshape", net.conv(x, a, c, k=1), net.ints(0, c, -1))
    scores = net.op("Softmax", net.op("MatMul", net.op("Transpose", q, perm=[0, 2, 1]), k), axis=-1)
    y = net.op("MatMul", scores, net.op("Transpose", v, perm=[0, 2, 1]))
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1]), net.ints(0, c, 4, 4))
    return (net.head(net.op("Add", x, net.conv(y, c, a, k=1)), a),)


def unit_length(net: Net):
    """Features are divided by their length, expanded to their own shape."""
    a = net.width()
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(net.input("N", 3, 4, 4), 3, a)))
    length = net.op("ReduceL2", x, axes=[1], keepdims=1)
    return (net.op("MatMul", net.op("Div", x, net.op("Expand", length, net.op("Shape", x))), net.w(a, 3)),)


def experts(net: Net):
    """Several layers side by side, weighed by a softmax over them: their number stays, their widths are free."""
    e, f, count = net.width(), net.width(), 3
    x = net.linear(net.input("N", 4), 4, e)
    weights = net.op("Unsqueeze", net.op("Softmax", net.linear(x, e, count), axis=-1), net.ints(2))
    parts = [net.linear(net.relu(net.linear(x, e, f)), f, e) for _ in range(count)]
    stacked = net.op("Concat", *(net.op("Unsqueeze", p, net.ints(1)) for p in parts), axis=1)
    y = net.op("ReduceSum", net.op("Mul", stacked, weights), net.ints(1), keepdims=0)
    return (net.linear(y, e, 3),)


FAMILIES = (
    reductions,
    mean_over_channels,
    feed_forward_norm,
    group_norm,
    instance_norm,
    einsum,
    stacked_matmul,
    maxout,
    dynamic_group_norm,
    non_local,
    unit_length,
    experts,
)
