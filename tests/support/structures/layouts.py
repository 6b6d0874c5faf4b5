"""Channels that are moved, cut, merged and repeated on their way."""

from __future__ import annotations

import numpy as np
import onnx

from tests.support.net import Net


def shuffle(net: Net):
    g, n = 2, net.width(2)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, g * n))
    x = net.conv(x, g * n, g * n, k=1, group=g)
    x = net.op("Reshape", x, net.ints(0, g, n, 4, 4))
    x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = net.op("Reshape", x, net.ints(0, g * n, 4, 4))
    x = net.conv(x, g * n, g * n, group=g * n)
    return (net.head(net.conv(x, g * n, 4, k=1), 4),)


def shuffle_v2(net: Net):
    n = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 2 * n))
    left, right = net.op("Split", x, net.ints(n, n), axis=1, outs=2)
    right = net.relu(net.conv(net.conv(right, n, n, group=n), n, n, k=1))
    x = net.op("Concat", left, right, axis=1)
    x = net.op("Reshape", x, net.ints(-1, 2, n, 4, 4))
    x = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 1, 3, 4]), net.ints(-1, 2 * n, 4, 4))
    return (net.head(net.conv(x, 2 * n, 4, k=1), 4),)


def flatten_gemm(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    x = net.relu(net.op("Gemm", net.op("Flatten", x), net.w(b, a * 16), net.w(b), transB=1))
    return (net.dense(x, b, 3),)


def reshape_matmul(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    x = net.relu(net.linear(net.op("Reshape", x, net.ints(-1, a * 16)), a * 16, b))
    return (net.linear(x, b, 3),)


def dynamic_flatten(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, a))
    x = net.op("GlobalMaxPool", x)
    batch = net.op("Gather", net.op("Shape", x), net.const(0, np.int64), axis=0)
    target = net.op("Concat", net.op("Unsqueeze", batch, net.ints(0)), net.ints(-1), axis=0)
    return (net.dense(net.op("Reshape", x, target), a, 3),)


def nhwc(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Transpose", net.input("N", 6, 6, 3), perm=[0, 3, 1, 2])
    x = net.op("Transpose", net.relu(net.conv(x, 3, a)), perm=[0, 2, 3, 1])
    x = net.op("Add", net.op("Mul", x, net.w(a)), net.w(1, 1, a))
    x = net.conv(net.op("Transpose", x, perm=[0, 3, 1, 2]), a, b)
    x = net.op("ReduceMean", net.op("Transpose", x, perm=[0, 2, 3, 1]), axes=[1, 2], keepdims=0)
    return (net.linear(x, b, 3),)


def split_slice_gather(net: Net):
    a = net.width(2)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 2 * a))
    left, right = net.op("Split", x, axis=1, outs=2)
    low = net.op("Slice", left, net.ints(0), net.ints(a // 2), net.ints(1))
    high = net.op("Slice", left, net.ints(a // 2), net.ints(2**62), net.ints(1))
    order = net.rng.permutation(a)
    mixed = net.op("Gather", right, net.const(order, np.int64), axis=1)
    swapped = net.op("Concat", high, low, axis=1)
    return (net.conv(net.op("Add", swapped, mixed), a, 2), net.conv(right, a, 2))


def old_slice_split(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 2 * a))
    left, _ = net.op("Split", x, axis=1, split=[a, a], outs=2)
    right = net.op("Slice", x, axes=[1], starts=[a], ends=[2 * a])
    padded = net.op("Pad", right, pads=[0, 1, 0, 0, 0, 2, 0, 0])
    return (net.conv(net.op("Concat", left, padded, axis=1), 2 * a + 3, 2),)


def space_depth(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    x = net.conv(net.op("SpaceToDepth", x, blocksize=2), 4 * a, 8 * a)
    dcr = net.op("DepthToSpace", x, blocksize=2)
    crd = net.op("DepthToSpace", net.conv(x, 8 * a, 8 * a), blocksize=2, mode="CRD")
    return (net.conv(net.op("Concat", dcr, crd, axis=1), 4 * a, 2),)


def dynamic_size(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, a))
    x = net.op("Reshape", net.conv(x, a, b), net.ints(0, b, -1))
    return (net.linear(net.op("Transpose", x, perm=[0, 2, 1]), b, 3),)


def expand_tile(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input(2, 3, 4, 4), 3, a))
    mask = net.op("Sigmoid", net.conv(x, a, 1))
    wide = net.op("Expand", mask, net.ints(2, a, 4, 4))
    twice = net.op("Tile", net.op("Mul", x, wide), net.ints(1, 2, 1, 1))
    zeros = net.op("ConstantOfShape", net.ints(2, a, 4, 4))
    return (net.head(net.op("Add", net.op("Concat", twice, zeros, axis=1), net.w(1, 3 * a, 1, 1)), 3 * a),)


def dynamic_shuffle(net: Net):
    """Channels are shuffled with sizes that are divided at run time."""
    g, n = 2, net.width()
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, g * n))
    batch, channels, *size = (net.dim(x, i) for i in range(4))
    target = net.op("Concat", batch, net.ints(g), net.op("Div", channels, net.ints(g)), *size, axis=0)
    x = net.op("Transpose", net.op("Reshape", x, target), perm=[0, 2, 1, 3, 4])
    x = net.op("Reshape", x, net.op("Concat", batch, net.ints(-1), *size, axis=0))
    return (net.head(net.conv(x, g * n, 4, k=1), 4),)


def dynamic_resize(net: Net):
    """A map grows to the size that another one has in this run."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, a))
    low = net.relu(net.conv(net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), a, b))
    size = net.op("Slice", net.op("Shape", x), net.ints(2), net.ints(4), net.ints(0))
    kept = net.op("Slice", net.op("Shape", low), net.ints(0), net.ints(2), net.ints(0))
    up = net.op("Resize", low, "", "", net.op("Concat", kept, size, axis=0), mode="nearest")
    return (net.conv(net.op("Concat", x, up, axis=1), a + b, 2),)


def windows(net: Net):
    """Windows of an image and patches of windows: space is folded, every second place picked, channels joined."""
    a = net.width()
    x = net.op("Transpose", net.conv(net.input("N", 3, 4, 4), 3, a), perm=[0, 2, 3, 1])
    y = net.op("Transpose", net.op("Reshape", x, net.ints(-1, 2, 2, 2, 2, a)), perm=[0, 1, 3, 2, 4, 5])
    y = net.linear(net.op("Reshape", y, net.ints(-1, 4, a)), a, a)
    y = net.op("Transpose", net.op("Reshape", y, net.ints(-1, 2, 2, 2, 2, a)), perm=[0, 1, 3, 2, 4, 5])
    x = net.op("Add", x, net.op("Reshape", y, net.ints(-1, 4, 4, a)))
    ends, axes, steps = (net.ints(*v) for v in ((2**62, 2**62), (1, 2), (2, 2)))
    parts = [net.op("Slice", x, net.ints(i, j), ends, axes, steps) for i in (0, 1) for j in (0, 1)]
    return (net.linear(net.op("Concat", *parts, axis=-1), 4 * a, 3),)


def folded_columns(net: Net):
    """Patches that a dense layer makes, laid over each other as an image."""
    a = net.width()
    x = net.op("Transpose", net.linear(net.relu(net.linear(net.input("N", 9, 4), 4, a)), a, 4 * a), perm=[0, 2, 1])
    return (net.conv(net.op("Col2Im", x, net.ints(4, 4), net.ints(2, 2)), a, 2),)


def every_second(net: Net):
    """Even and odd channels are taken apart, and their order is turned around."""
    a = net.width(2)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 2 * a))
    even, odd = (net.op("Slice", x, net.ints(i), net.ints(2**62), net.ints(1), net.ints(2)) for i in (0, 1))
    turned = net.op("Slice", odd, net.ints(-1), net.ints(-(2**62)), net.ints(1), net.ints(-1))
    return (net.conv(net.op("Mul", even, turned), a, 2),)


def narrow_indices(net: Net):
    """Bounds and indices are of 32 bits, some of them computed."""
    a = net.width(4)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    short = lambda *values: net.const(values, np.int32)  # noqa: E731
    low = net.op("Slice", x, short(0), short(a // 2), short(1), short(1))
    half = net.op("Div", net.op("Cast", net.dim(x, 1), to=onnx.TensorProto.INT32), short(2))
    high = net.op("Slice", x, half, net.op("Mul", half, short(2)), net.op("Identity", short(1)))
    turned = net.op("Gather", x, short(*reversed(range(a))), axis=1)
    return (net.conv(net.op("Add", net.op("Concat", high, low, axis=1), turned), a, 2),)


def uneven_split(net: Net):
    """Channels are taken apart into parts as equal as can be, and the parts into single ones and the rest."""
    a = net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 2 * a + 1))
    more, less = net.op("Split", x, axis=1, num_outputs=2, outs=2)
    one, rest = net.op("Split", more, net.ints(1, a), axis=1, outs=2)
    return (net.conv(net.op("Concat", less, net.op("Mul", rest, one), axis=1), 2 * a, 2),)


FAMILIES = (
    shuffle,
    shuffle_v2,
    flatten_gemm,
    reshape_matmul,
    dynamic_flatten,
    nhwc,
    split_slice_gather,
    old_slice_split,
    space_depth,
    dynamic_size,
    expand_tile,
    dynamic_shuffle,
    dynamic_resize,
    windows,
    folded_columns,
    every_second,
    uneven_split,
    narrow_indices,
)
