"""Recurrent layers."""

from __future__ import annotations

from tests.net import Net


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


FAMILIES = (
    recurrent, long_short_term, both_directions,
)  # fmt: skip
