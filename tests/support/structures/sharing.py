"""Biases, factors and slopes that exporters store once because they are equal, though nothing ties their layers."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


def one_bias(net: Net):
    """Layers of one width with a single bias, a single slope, and norms of a single scale and shift."""
    c = net.width()
    zeros, ones, slope = net.const(np.zeros(c), net.dtype), net.const(np.ones(c), net.dtype), net.positive(c, 1, 1)
    x = net.op("Conv", net.input("N", 3, 4, 4), net.w(c, 3, 3, 3), zeros, pads=[1] * 4)
    for _ in range(2):
        x = net.op("BatchNormalization", x, ones, zeros, zeros, ones)
        x = net.op("PRelu", x, slope)
        x = net.op("Conv", x, net.w(c, c, 3, 3), zeros, pads=[1] * 4)
    return (net.head(net.relu(x), c),)


def one_factor(net: Net):
    """Maps of different groups, scaled and shifted by constants that they share; one is a whole map."""
    c = net.width()
    factor, shift, whole = net.positive(1, c, 1, 1), net.w(c, 1, 1), net.w(c, 4, 4)
    x = net.input("N", 3, 4, 4)
    for _ in range(3):
        x = net.conv(x, 3 if x == "in0" else c, c)
        x = net.op("Add", net.op("Mul", x, factor), shift)
        x = net.relu(net.op("Sub", x, whole))
    return (net.head(x, c),)


def one_bias_of_a_transformer(net: Net):
    """Norms and dense layers around attention that share vectors of zeros and ones; a table stays shared."""
    h, d = 2, net.width()
    e = h * d
    zeros, ones, table = net.const(np.zeros(e), net.dtype), net.const(np.ones(e), net.dtype), net.w(7, e)
    x = net.op("Gather", table, net.input("N", "S", dtype=np.int64))

    def dense(x: str) -> str:
        return net.op("Add", net.op("MatMul", x, net.w(e, e)), zeros)

    for _ in range(2):
        n = net.op("LayerNormalization", x, ones, zeros, axis=-1)
        q, k, v = (net.op("Reshape", dense(n), net.ints(0, 0, h, d)) for _ in range(3))
        q, v = (net.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 2, 3, 1])), axis=-1)
        y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        x = net.op("Add", x, dense(net.op("Reshape", y, net.ints(0, 0, e))))
        n = net.op("LayerNormalization", x, ones, zeros, axis=-1)
        x = net.op("Add", x, dense(net.relu(dense(n))))
    return (net.op("MatMul", x, net.op("Transpose", table, perm=[1, 0])),)


def one_bias_in_branches(net: Net):
    """A bias of the main graph that both branches of an If read, and a layer outside."""
    c = net.width()
    bias, w = net.w(c), (net.w(c, c, 1, 1), net.w(c, c, 1, 1))
    x = net.op("Conv", net.input("N", 3, 4, 4), net.w(c, 3, 3, 3), bias, pads=[1] * 4)
    asked = net.op("Cast", net.op("ReduceSum", x, keepdims=0), to=9)

    def branch(weight: str):
        return net.body(lambda: (net.op("Conv", net.op("Conv", x, weight, bias), net.w(c, c, 1, 1), bias),))

    y = net.op("If", asked, then_branch=branch(w[0]), else_branch=branch(w[1]))
    return (net.head(net.op("Conv", y, net.w(c, c, 1, 1), bias), c),)


FAMILIES = (one_bias, one_factor, one_bias_of_a_transformer, one_bias_in_branches)
