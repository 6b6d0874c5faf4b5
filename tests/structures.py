"""Small networks of many structure families, made from a seed: what the laws of channel coupling are tested on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pfir.ir.model import Model
from tests.net import Net, feeds

__all__ = ["FAMILIES", "Net", "build", "feeds"]

Structure = Callable[[Net], tuple[str, ...]]


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


def several_outputs(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Add", net.conv(net.input("N", 3, 4, 4), 3, a), net.conv(net.input("N", 2, 4, 4), 2, a))
    y = net.relu(net.conv(net.relu(x), a, b))
    return y, net.head(net.relu(x), a)


def attention(net: Net, fused: bool = False):
    h, d, f = net.width(), net.width(), net.width()
    e = h * d
    x = net.input("N", "S", e)
    n = net.op("LayerNormalization", x, net.positive(e), net.w(e), axis=-1)
    if fused:
        qkv = net.op("Reshape", net.linear(n, e, 3 * e), net.ints(0, 0, 3, h, d))
        qkv = net.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
        q, k, v = (net.op("Gather", qkv, net.const(i, np.int64), axis=0) for i in range(3))
    else:
        heads = [net.op("Reshape", net.linear(n, e, e), net.ints(0, 0, h, d)) for _ in range(3)]
        q, k, v = (net.op("Transpose", t, perm=[0, 2, 1, 3]) for t in heads)
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    scores = net.op("Softmax", net.op("Div", scores, net.const(np.sqrt(d), np.float32)), axis=-1)
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = net.linear(net.op("Reshape", y, net.ints(0, 0, e)), e, e)
    x = net.op("Add", x, y)
    n = net.op("LayerNormalization", x, net.positive(e), net.w(e), axis=-1)
    return (net.op("Add", x, net.linear(net.op("Erf", net.linear(n, e, f)), f, e)),)


def fused_attention(net: Net):
    return attention(net, fused=True)


def traced_attention(net: Net):
    """As exporters write it: sizes are asked for at run time, so is the scale."""
    h, d = net.width(), net.width()
    e = h * d
    x = net.input("N", "S", e)

    def dim(t, i):
        return net.op("Unsqueeze", net.op("Gather", net.op("Shape", t), net.const(i, np.int64), axis=0), net.ints(0))

    def heads(t):
        target = net.op("Concat", dim(t, 0), dim(t, 1), net.ints(h), net.ints(d), axis=0)
        return net.op("Transpose", net.op("Reshape", t, target), perm=[0, 2, 1, 3])

    q, k, v = (heads(net.linear(x, e, e)) for _ in range(3))
    scale = net.op("Sqrt", net.op("Cast", dim(q, 3), to=TensorProto.FLOAT))
    scores = net.op("Div", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), scale)
    y = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    y = net.op("Transpose", y, perm=[0, 2, 1, 3])
    target = net.op("Concat", dim(y, 0), dim(y, 1), net.ints(e), axis=0)
    return (net.linear(net.op("Reshape", y, target), e, 3),)


def feed_forward_norm(net: Net):
    """LayerNorm spelt out: the mean over the width fixes it, the feed-forward width is free."""
    e, f = net.width(), net.width()
    x = net.linear(net.input("N", "S", 4), 4, e)
    mean = net.op("ReduceMean", x, axes=[-1], keepdims=1)
    centred = net.op("Sub", x, mean)
    spread = net.op("ReduceMean", net.op("Mul", centred, centred), axes=[-1], keepdims=1)
    n = net.op("Div", centred, net.op("Sqrt", net.op("Add", spread, net.const(1e-5, np.float32))))
    return (net.linear(net.relu(net.linear(n, e, f)), f, 3),)


def tokens(net: Net):
    e, f = net.width(), net.width()
    x = net.op("Gather", net.w(7, e), net.input("N", "S", dtype=np.int64))
    x = net.relu(net.linear(x, e, f))
    return (net.op("ReduceSum", net.linear(x, f, 3), net.ints(1), keepdims=0),)


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


def one_dimension(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.norm(net.conv(net.input("N", 3, "T"), 3, a, d=1), a))
    return (net.head(net.conv(x, a, b, d=1), b),)


def three_dimensions(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(1, 3, 4, 4, 4), 3, a, d=3))
    return (net.head(net.conv(net.op("AveragePool", x, kernel_shape=[2, 2, 2]), a, b, d=3), b),)


def dynamic_size(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, a))
    x = net.op("Reshape", net.conv(x, a, b), net.ints(0, b, -1))
    return (net.linear(net.op("Transpose", x, perm=[0, 2, 1]), b, 3),)


def branches(net: Net):
    """Both branches of an If read an outer tensor, whose channels must stay."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    captured = net.relu(net.conv(x, a, b))

    def branch(kind):
        out = helper.make_tensor_value_info(f"{kind}_out", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, [captured], [f"{kind}_out"])], kind, [], [out])

    condition = net.const(True, np.bool_)
    y = net.op("If", condition, then_branch=branch("Relu"), else_branch=branch("Neg"))
    return (net.head(y, b),)


def local_function(net: Net):
    a, b = net.width(), net.width()
    body = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    net.functions.append(helper.make_function("local", "Act", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    return (net.head(net.op("Act", net.conv(x, a, b), domain="local"), b),)


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


def recurrent(net: Net):
    a, h = net.width(), net.width()
    x = net.relu(net.linear(net.input(3, 2, 4), 4, a))
    y, _ = net.op("GRU", x, net.w(1, 3 * h, a), net.w(1, 3 * h, h), outs=2, hidden_size=h)
    return (net.linear(net.op("Squeeze", y, net.ints(1)), h, 3),)


def long_short_term(net: Net):
    """With biases, peepholes, states to begin with; the sequence and the last states are read."""
    a, h = net.width(), net.width()
    x = net.relu(net.linear(net.input(3, 2, 4), 4, a))
    weights = net.w(1, 4 * h, a), net.w(1, 4 * h, h), net.w(1, 8 * h), "", net.w(1, 2, h), net.w(1, 2, h)
    y, last, cell = net.op("LSTM", x, *weights, net.w(1, 3 * h), outs=3, hidden_size=h)
    states = net.op("Add", last, net.op("Tanh", cell))
    return (net.linear(net.op("Add", net.op("Squeeze", y, net.ints(1)), states), h, 3),)


def both_directions(net: Net):
    """Two layers, the second of which reads both directions of the first side by side."""
    h, k = net.width(), net.width()
    y, _ = net.op("GRU", net.input(3, 2, 4), net.w(2, 3 * h, 4), net.w(2, 3 * h, h), net.w(2, 6 * h), outs=2,
                  hidden_size=h, direction="bidirectional", linear_before_reset=1)  # fmt: skip
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, 0, -1))
    z, _ = net.op("RNN", y, net.w(1, k, 2 * h), net.w(1, k, k), outs=2, hidden_size=k)
    return (net.linear(net.op("Squeeze", z, net.ints(1)), k, 3),)


def expand_tile(net: Net):
    a = net.width()
    x = net.relu(net.conv(net.input(2, 3, 4, 4), 3, a))
    mask = net.op("Sigmoid", net.conv(x, a, 1))
    wide = net.op("Expand", mask, net.ints(2, a, 4, 4))
    twice = net.op("Tile", net.op("Mul", x, wide), net.ints(1, 2, 1, 1))
    zeros = net.op("ConstantOfShape", net.ints(2, a, 4, 4))
    return (net.head(net.op("Add", net.op("Concat", twice, zeros, axis=1), net.w(1, 3 * a, 1, 1)), 3 * a),)


def microsoft(net: Net):
    a, b = net.width(), net.width()
    x = net.op("Gelu", net.op("MatMul", net.input("N", 4), net.w(4, a)), domain="com.microsoft")
    x = net.op("BiasGelu", net.op("MatMul", x, net.w(a, b)), net.w(b), domain="com.microsoft")
    return (net.dense(x, b, 3),)


def unknown(net: Net):
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(2, 3, 4, 4), 3, a))
    y = net.op("ReverseSequence", net.conv(x, a, b), net.ints(2, 2), batch_axis=0, time_axis=1)
    return (net.head(y, b),)


def cut_from_fixed(net: Net):
    """The image is joined to features: its channels stay, theirs may go."""
    a = net.width()
    x = net.input("N", 3, 4, 4)
    joined = net.op("Concat", x, net.relu(net.conv(x, 3, a)), axis=1)
    return (net.head(net.op("Sub", net.conv(joined, a + 3, 4), net.w(4, 1, 1)), 4),)


FAMILIES: dict[str, tuple[Structure, dict]] = {
    f.__name__: (f, {})
    for f in (
        chain, residual, option_a, dense_block, inception, unet, resized, grouped_conv, grouped_transpose,
        shuffle, shuffle_v2, squeeze_excite, squeeze_excite_dense, separable, prelu, flatten_gemm, reshape_matmul,
        dynamic_flatten, nhwc, split_slice_gather, space_depth, reductions, mean_over_channels, shared_weights,
        hidden_weights, quantized_weights, several_outputs, feed_forward_norm, tokens, instance_norm, one_dimension,
        three_dimensions, dynamic_size, branches, local_function, einsum, stacked_matmul, maxout, recurrent,
        long_short_term, both_directions,
        expand_tile, microsoft, unknown, cut_from_fixed, traced_attention,
    )
}  # fmt: skip
FAMILIES |= {
    "attention": (attention, {"opset": 17}),
    "fused_attention": (fused_attention, {"opset": 17}),
    "group_norm": (group_norm, {"opset": 21}),
    "upsample_opset9": (upsample_opset9, {"opset": 9}),
    "old_slice_split": (old_slice_split, {"opset": 9}),
    "half_precision": (chain, {"dtype": np.float16}),
    "double_precision": (einsum, {"dtype": np.float64}),
}


def build(name: str, seed: int) -> Model:
    """A member of a structure family."""
    structure, settings = FAMILIES[name]
    net = Net(seed, **settings)
    return net.model(structure(net))
