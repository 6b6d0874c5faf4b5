"""Attention in the ways that it is written down."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.net import Net


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


FAMILIES = (
    attention, fused_attention, traced_attention,
)  # fmt: skip
