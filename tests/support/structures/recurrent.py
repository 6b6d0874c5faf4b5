"""Recurrent layers."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


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
    y, _ = net.op(
        "GRU",
        net.input(3, 2, 4),
        net.w(2, 3 * h, 4),
        net.w(2, 3 * h, h),
        net.w(2, 6 * h),
        outs=2,
        hidden_size=h,
        direction="bidirectional",
        linear_before_reset=1,
    )
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints(0, 0, -1))
    z, _ = net.op("RNN", y, net.w(1, k, 2 * h), net.w(1, k, k), outs=2, hidden_size=k)
    return (net.linear(net.op("Squeeze", z, net.ints(1)), k, 3),)


def two_layers(net: Net):
    """As exporters write it: states are made in the size of the batch, the second layer starts from the first's."""
    a, h = net.width(), net.width()
    x = net.op("Transpose", net.linear(net.input("N", "S", 4), 4, a), perm=[1, 0, 2])
    size = net.op("Concat", net.ints(1), net.dim(x, 1), net.ints(h), axis=0)
    zeros = net.op("Expand", net.const(np.zeros((1, 1, 1)), np.float32), size), net.op("ConstantOfShape", size)
    y, *last = net.op(
        "LSTM", x, net.w(1, 4 * h, a), net.w(1, 4 * h, h), net.w(1, 8 * h), "", *zeros, outs=3, hidden_size=h
    )
    second = net.w(1, 4 * h, h), net.w(1, 4 * h, h), net.w(1, 8 * h), ""
    _, y, _ = net.op("LSTM", net.op("Squeeze", y, net.ints(1)), *second, *last, outs=3, hidden_size=h)
    return (net.linear(net.op("Squeeze", y, net.ints(0)), h, 3),)


FAMILIES = (
    recurrent,
    long_short_term,
    both_directions,
    two_layers,
)
