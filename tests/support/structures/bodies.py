"""Channels that run into the bodies of If, Loop and Scan, and out of them."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


def branches(net: Net):
    """Both branches of an If read an outer tensor."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    seen = net.relu(net.conv(x, a, b))
    then, other = (net.body(lambda kind=kind: (net.op(kind, seen),)) for kind in ("Relu", "Neg"))
    return (net.head(net.op("If", net.const(True, np.bool_), then_branch=then, else_branch=other), b),)


def branches_with_layers(net: Net):
    """Each branch has layers of its own; the condition is an input, one branch holds a further If."""
    a, b, c = net.width(), net.width(), net.width()
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    condition = net.op("Greater", net.op("ReduceSum", net.input(1, 1), keepdims=0), net.const(0, net.dtype))

    def inner():
        return (net.op("Mul", net.conv(x, a, b), net.w(b, 1, 1)),)

    def nested():
        return (net.op("If", net.op("Not", condition), then_branch=net.body(inner), else_branch=net.body(inner)),)

    def layers():
        y = net.relu(net.norm(net.conv(x, a, c), c))
        return (net.conv(net.op("Split", y, net.ints(c - 1, 1), axis=1, outs=2)[0], c - 1, b),)

    y = net.op("If", condition, then_branch=net.body(layers), else_branch=net.body(nested))
    return (net.head(net.relu(y), b),)


def branches_that_differ(net: Net):
    """One branch makes channels, the other takes the image's: they stay, what is around them may go."""
    a, b = net.width(), net.width()
    image = net.input("N", 3, 4, 4)
    x = net.relu(net.conv(image, 3, a))
    then = net.body(lambda: (net.conv(net.relu(net.conv(x, a, b)), b, 3),))
    other = net.body(lambda: (net.op("Abs", image),))
    return (net.head(net.op("If", net.const(True, np.bool_), then_branch=then, else_branch=other), 3),)


def loop_states(net: Net):
    """A residual step that a Loop repeats; what it adds is stacked, too."""
    a, b = net.width(), net.width()
    x = net.linear(net.input(2, 4), 4, a)

    def step(_, go, state):
        grown = net.op("Add", state, net.linear(net.relu(net.linear(state, a, b)), b, a))
        return net.again(go), grown, net.op("Mul", grown, x)

    body = net.body(step, np.int64, bool, np.float32)
    last, every = net.op("Loop", net.const(3, np.int64), "", x, body=body, outs=2)
    total = net.op("ReduceSum", every, net.ints(0), keepdims=0)
    return (net.linear(net.op("Add", last, total), a, 3),)


def growing_state(net: Net):
    """A Loop appends to a sequence, whose length changes from run to run and is asked for; channels are followed."""
    a, b = net.width(), net.width()
    x, scale = net.linear(net.input(1, 2, 4), 4, a), net.w(1, 1, a)

    def step(_, go, state, last):
        last = net.op("Tanh", net.linear(last, a, a))
        state = net.op("Mul", state, net.op("Expand", scale, net.op("Shape", state)))
        return net.again(go), net.op("Concat", state, last, axis=1), last

    body = net.body(step, np.int64, bool, np.float32, np.float32)
    grown, _ = net.op("Loop", net.const(2, np.int64), "", x, net.op("Neg", x), body=body, outs=2)
    return (net.linear(net.relu(net.linear(grown, a, b)), b, 3),)


def scanned_cell(net: Net):
    """A recurrent cell in a Scan: its hidden width and that of its input are free."""
    a, h = net.width(), net.width()
    x = net.relu(net.linear(net.input(4, 2, 4), 4, a))
    turn, bias = net.w(h, h), net.w(h)

    def cell(state, given):
        new = net.op("Tanh", net.op("Add", net.op("MatMul", state, turn), net.linear(given, a, h)))
        return new, net.op("Add", net.op("Reshape", new, net.ints(-1, 1, h)), bias)

    body = net.body(cell, np.float32, np.float32)
    start = net.const(np.zeros((2, h)), np.float32)
    _, every = net.op("Scan", start, x, body=body, num_scan_inputs=1, scan_output_axes=[1], outs=2)
    return (net.linear(every, h, 3),)


def scanned_channels(net: Net):
    """A Scan along the channels fixes them, not those behind it."""
    a, b = net.width(), net.width()
    x = net.relu(net.conv(net.input(2, 3, 4, 4), 3, a))

    def step(total, channel):
        total = net.op("Add", total, channel)
        return total, net.op("Mul", total, channel)

    start, body = net.const(np.zeros((2, 4, 4)), np.float32), net.body(step, np.float32, np.float32)
    attributes = {"scan_input_axes": [1], "scan_output_axes": [1], "num_scan_inputs": 1}
    _, y = net.op("Scan", start, x, body=body, outs=2, **attributes)
    return (net.head(net.relu(net.conv(y, a, b)), b),)


FAMILIES = (
    branches,
    branches_with_layers,
    branches_that_differ,
    loop_states,
    growing_state,
    scanned_cell,
    scanned_channels,
)
