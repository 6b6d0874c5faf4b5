"""Convolutional networks: how blocks join, branch, group and scale."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


def chain(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.norm(net.conv(net.input("N", 3, 6, 6), 3, a, bias=False), a))
    return (net.head(net.relu(net.conv(x, a, b)), b),)


def residual(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 6, 6), 3, a))
    for _ in range(3):
        y = net.conv(net.relu(net.norm(net.conv(x, a, b), b)), b, a)
        x = net.relu(net.op("Add", x, y))
    return (net.head(x, a),)


def option_a(net: Net):
    a, extra = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 6, 6), 3, a))
    y = net.conv(x, a, a + 2 * extra, strides=[2, 2])
    starts = [net.ints(*v) for v in ((0, 0), (6, 6), (2, 3), (2, 2))]
    cut = net.op("Slice", x, *starts)
    short = net.op("Pad", cut, net.ints(0, extra, 0, 0, 0, extra, 0, 0))
    z = net.relu(net.op("Add", y, short))
    return (net.head(z, a + 2 * extra),)


def dense_block(net: Net):
    width = net.width()
    x = net.conv(net.input("N", 3, 6, 6), 3, width)
    parts, total = [x], width
    for _ in range(3):
        joined = net.op("Concat", *parts, axis=1) if len(parts) > 1 else x
        grow = net.width()
        parts.append(net.conv(net.relu(net.norm(joined, total)), total, grow))
        total += grow
    return (net.head(net.op("Concat", *parts, axis=1), total),)


def inception(net: Net):
    a, b, c, d = (net.width() for _ in range(4))
    x = net.relu(net.conv(net.input("N", 3, 6, 6), 3, a))
    one = net.conv(x, a, b, k=1)
    three = net.conv(net.relu(net.conv(x, a, c, k=1)), c, d)
    pooled = net.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    joined = net.op("Concat", one, three, pooled, axis=1)
    return (net.head(net.relu(joined), b + d + a),)


def unet(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, a))
    low = net.relu(net.conv(net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), a, b))
    up = net.op("ConvTranspose", low, net.w(b, a, 2, 2), net.w(a), kernel_shape=[2, 2], strides=[2, 2])
    joined = net.op("Concat", x, up, axis=1)
    return (net.conv(net.relu(net.conv(joined, 2 * a, b)), b, 2, k=1),)


def resized(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    by_scale = net.op("Resize", x, "", net.const([1, 1, 2, 2], np.float32), mode="nearest")
    by_size = net.op("Resize", x, "", "", net.ints(2, a, 8, 8), mode="nearest")
    return (net.conv(net.op("Add", by_scale, by_size), a, 2),)


def upsample_opset9(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    return (net.conv(net.op("Upsample", x, net.const([1, 1, 2, 2], np.float32)), a, 2),)


def grouped_conv(net: Net):
    g = 2
    a, b = net.width(g), net.width(g)
    x = net.relu(net.conv(net.input("N", 3, 6, 6), 3, a))
    return (net.head(net.relu(net.conv(x, a, b, group=g)), b),)


def grouped_transpose(net: Net):
    g = 2
    a, b = net.width(g), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    up = net.op("ConvTranspose", x, net.w(a, b, 2, 2), net.w(b * g), kernel_shape=[2, 2], strides=[2, 2], group=g)
    deep = net.op("ConvTranspose", up, net.w(b * g, 2, 2, 2), kernel_shape=[2, 2], group=b * g)
    return (net.head(net.relu(deep), 2 * b * g),)


def squeeze_excite(net: Net):
    a, r = net.width(), net.width()
    x = net.conv(net.input("N", 3, 6, 6), 3, a)
    gate = net.relu(net.conv(net.op("GlobalAveragePool", x), a, r, k=1))
    gate = net.op("Sigmoid", net.conv(gate, r, a, k=1))
    return (net.head(net.op("Mul", x, gate), a),)


def squeeze_excite_dense(net: Net):
    a, r = net.width(), net.width()
    x = net.conv(net.input("N", 3, 6, 6), 3, a)
    pooled = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    gate = net.op("HardSigmoid", net.dense(net.relu(net.dense(pooled, a, r)), r, a))
    gate = net.op("Reshape", gate, net.ints(-1, a, 1, 1))
    return (net.head(net.op("Mul", x, gate), a),)


def separable(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Clip", net.conv(net.input("N", 3, 6, 6), 3, a), net.const(0, np.float32), net.const(6, np.float32))
    x = net.relu(net.norm(net.conv(x, a, a, group=a, bias=False), a))
    x = net.conv(x, a, b, k=1)
    x = net.conv(x, b, 2 * b, group=b)
    return (net.head(net.conv(x, 2 * b, 4, k=1), 4),)


def prelu(net: Net):
    a, b = net.width(), net.width()
    x = net.op("PRelu", net.conv(net.input("N", 3, 6, 6), 3, a), net.w(a, 1, 1))
    x = net.op("PRelu", net.conv(x, a, b), net.w(1, 1, 1))
    return (net.head(x, b),)


def one_dimension(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.norm(net.conv(net.input("N", 3, "T"), 3, a, d=1), a))
    return (net.head(net.conv(x, a, b, d=1), b),)


def three_dimensions(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(1, 3, 4, 4, 4), 3, a, d=3))
    return (net.head(net.conv(net.op("AveragePool", x, kernel_shape=[2, 2, 2]), a, b, d=3), b),)


def several_outputs(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Add", net.conv(net.input("N", 3, 4, 4), 3, a), net.conv(net.input("N", 2, 4, 4), 2, a))
    y = net.relu(net.conv(net.relu(x), a, b))
    return y, net.head(net.relu(x), a)


def cut_from_fixed(net: Net):
    """The image is joined to features: its channels stay, theirs may go."""
    a = net.width()
    x = net.input("N", 3, 4, 4)
    joined = net.op("Concat", x, net.relu(net.conv(x, 3, a)), axis=1)
    return (net.head(net.op("Sub", net.conv(joined, a + 3, 4), net.w(4, 1, 1)), 4),)


def unpooled(net: Net):
    """What a MaxPool drops is put back to where it was, once in sizes that are given."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(2, 3, 8, 8), 3, a))
    x, first = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outs=2)
    y, second = net.op("MaxPool", net.relu(net.conv(x, a, b)), kernel_shape=[2, 2], strides=[2, 2], outs=2)
    y = net.op("MaxUnpool", net.relu(net.conv(y, b, b)), second, kernel_shape=[2, 2], strides=[2, 2])
    sizes = net.ints(2, a, 8, 8)
    y = net.op("MaxUnpool", net.relu(net.conv(y, b, a)), first, sizes, kernel_shape=[2, 2], strides=[2, 2])
    return (net.conv(y, a, 2),)


FAMILIES = (
    chain,
    residual,
    option_a,
    dense_block,
    inception,
    unet,
    resized,
    upsample_opset9,
    grouped_conv,
    grouped_transpose,
    squeeze_excite,
    squeeze_excite_dense,
    separable,
    prelu,
    one_dimension,
    three_dimensions,
    several_outputs,
    cut_from_fixed,
    unpooled,
)
