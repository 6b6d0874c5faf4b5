"""Operators from elsewhere, or without a rule: local functions, other domains."""

from __future__ import annotations

from onnx import helper

from tests.net import Net


def local_function(net: Net):
    a, b = net.width(), net.width()
    body = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    net.functions.append(helper.make_function("local", "Act", ["x"], ["y"], body, [helper.make_opsetid("", 13)]))
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, a))
    return (net.head(net.op("Act", net.conv(x, a, b), domain="local"), b),)


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


FAMILIES = (
    local_function, microsoft, unknown,
)  # fmt: skip
