"""Attention in the ways that it is written down."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.support.net import Net


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

    def heads(t):
        target = net.op("Concat", net.dim(t, 0), net.dim(t, 1), net.ints(h), net.ints(d), axis=0)
        return net.op("Transpose", net.op("Reshape", t, target), perm=[0, 2, 1, 3])

    q, k, v = (heads(net.linear(x, e, e)) for _ in range(3))
    scale = net.op("Sqrt", net.op("Cast", net.dim(q, 3), to=TensorProto.FLOAT))
    scores = net.op("Div", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), scale)
    y = net.op("MatMul", net.op("Softmax", scores, axis=-1), v)
    y = net.op("Transpose", y, perm=[0, 2, 1, 3])
    target = net.op("Concat", net.dim(y, 0), net.dim(y, 1), net.ints(e), axis=0)
    return (net.linear(net.op("Reshape", y, target), e, 3),)


def split_qkv(net: Net):
    """One product for all three, cut before the heads are; every size of the reshapes is asked for at run time."""
    h, d = net.width(), net.width()
    e = h * d
    x = net.linear(net.input("N", "S", 4), 4, e)

    def heads(t):
        target = net.op("Concat", net.dim(x, 0), net.dim(x, 1), net.ints(h), net.ints(d), axis=0)
        return net.op("Transpose", net.op("Reshape", t, target), perm=[0, 2, 1, 3])

    q, k, v = map(heads, net.op("Split", net.linear(x, e, 3 * e), axis=2, outs=3))
    y = net.op("Transpose", _attend(net, q, k, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.op("Concat", net.dim(x, 0), net.dim(x, 1), net.ints(e), axis=0))
    return (net.linear(net.op("Add", x, net.linear(y, e, e)), e, 3),)


def packed_qkv(net: Net):
    """As `fused_attention` with dynamic sizes, the three taken apart by Split and Squeeze."""
    h, d = net.width(), net.width()
    e = h * d
    x = net.input("N", "S", e)
    target = net.op("Concat", net.dim(x, 0), net.dim(x, 1), net.ints(3), net.ints(h), net.ints(d), axis=0)
    qkv = net.op("Transpose", net.op("Reshape", net.linear(x, e, 3 * e), target), perm=[2, 0, 3, 1, 4])
    q, k, v = (net.op("Squeeze", t, net.ints(0)) for t in net.op("Split", qkv, axis=0, outs=3))
    y = net.op("Transpose", _attend(net, q, k, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, net.op("Concat", net.dim(x, 0), net.dim(x, 1), net.ints(e), axis=0))
    return (net.linear(y, e, 3),)


def sequence_first(net: Net):
    """Batch and heads in one axis, as in torch.nn.MultiheadAttention."""
    h, d, s, n = net.width(), net.width(), 3, 2
    e = h * d
    x = net.input(s, n, e)
    qkv = net.op("Unsqueeze", net.op("Reshape", net.linear(x, e, 3 * e), net.ints(s, n, 3, e)), net.ints(0))
    qkv = net.op("Squeeze", net.op("Transpose", qkv, perm=[3, 1, 2, 0, 4]), net.ints(3))
    parts = (net.op("Gather", qkv, net.const(i, np.int64), axis=0) for i in range(3))
    q, k, v = (net.op("Transpose", net.op("Reshape", t, net.ints(s, n * h, d)), perm=[1, 0, 2]) for t in parts)
    scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[1, 0, 2])
    y = net.dense(net.op("Reshape", y, net.ints(s * n, e)), e, 4)
    return (net.op("Reshape", y, net.ints(s, n, 4)),)


def rotary(net: Net):
    """Positions turn halves of a head into each other, so whole heads go."""
    h, d = net.width(), net.width(2)
    e = h * d
    x = net.linear(net.input("N", "S", 4), 4, e)
    cos, sin = net.w(1, 1, 3, d), net.w(1, 1, 3, d)

    def turned(t):
        low = net.op("Slice", t, net.ints(0), net.ints(d // 2), net.ints(3))
        high = net.op("Slice", t, net.ints(d // 2), net.ints(2**62), net.ints(3))
        swapped = net.op("Concat", net.op("Neg", high), low, axis=3)
        return net.op("Add", net.op("Mul", t, cos), net.op("Mul", swapped, sin))

    q, k, v = (_heads(net, net.linear(x, e, e), h, d) for _ in range(3))
    y = net.op("Transpose", _attend(net, turned(q), turned(k), v), perm=[0, 2, 1, 3])
    return (net.linear(net.op("Add", x, net.linear(net.op("Reshape", y, net.ints(0, 0, e)), e, e)), e, 3),)


def grouped_query(net: Net):
    """Several heads of q share one of k and v: they go together."""
    g, per, d, s = net.width(), 2, net.width(), 3
    h, e = g * per, g * per * d
    x = net.linear(net.input("N", s, 4), 4, e)

    def shared():
        t = net.op("Unsqueeze", _heads(net, net.linear(x, e, g * d), g, d), net.ints(2))
        return net.op("Reshape", net.op("Expand", t, net.ints(1, g, per, s, d)), net.ints(0, h, s, d))

    y = _attend(net, _heads(net, net.linear(x, e, e), h, d), shared(), shared())
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, 0, e))
    return (net.linear(net.op("Add", x, net.linear(y, e, e)), e, 3),)


def einsum_attention(net: Net):
    """Heads and their width are axes of the weights: both may go."""
    h, d, e = net.width(), net.width(), net.width()
    x = net.linear(net.input("N", "S", 4), 4, e)
    q, k, v = (net.op("Einsum", x, net.w(e, h, d), equation="...e,ehd->...hd") for _ in range(3))
    scores = net.op("Softmax", net.op("Einsum", q, k, equation="nshd,nthd->nhst"), axis=-1)
    y = net.op("Einsum", scores, v, equation="nhst,nthd->nshd")
    y = net.op("Einsum", y, net.w(h, d, e), equation="nshd,hde->nse")
    return (net.linear(net.op("Add", x, y), e, 3),)


def _heads(net: Net, x: str, h: int, d: int) -> str:
    return net.op("Transpose", net.op("Reshape", x, net.ints(0, 0, h, d)), perm=[0, 2, 1, 3])


def _attend(net: Net, q: str, k: str, v: str) -> str:
    scores = net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2]))
    return net.op("MatMul", net.op("Softmax", net.op("Mul", scores, net.const(0.5, np.float32)), axis=-1), v)


FAMILIES = (
    attention,
    fused_attention,
    traced_attention,
    split_qkv,
    packed_qkv,
    sequence_first,
    rotary,
    grouped_query,
    einsum_attention,
)
