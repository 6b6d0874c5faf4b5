"""Networks on quantized integers, in operators that hold scales and zero points themselves."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net

MICROSOFT = {"domain": "com.microsoft"}


def scale(net: Net, low: float = 0.02, high: float = 0.05, count: int | tuple[int, ...] | None = None) -> str:
    return net.const(net.rng.uniform(low, high, count), np.float32)


def pair(net: Net, dtype=np.uint8) -> tuple[str, str]:
    """A scale and a zero point of activations."""
    point = net.rng.integers(100, 150) if dtype == np.uint8 else net.rng.integers(-20, 20)
    return scale(net), net.const(point, dtype)


def kernel(net: Net, *shape: int, axis: int = 0, dtype=np.int8) -> tuple[str, str, str]:
    """Weights of seven bits with a scale for each output channel, and zero points.

    On a processor without VNNI ONNX Runtime adds two products of bytes in 16 bits, which eight bits overflow.
    """
    ints = net.const(net.rng.integers(-63, 64, shape), np.int8)
    return ints, scale(net, 0.002, 0.008, shape[axis]), net.const(np.zeros(shape[axis]), dtype)


def qconv(net: Net, x: str, given: tuple[str, str], a: int, b: int, made: tuple[str, str], k=3, **attrs) -> str:
    bias = net.const(net.rng.integers(-500, 500, b), np.int32)
    weights = kernel(net, b, a // attrs.get("group", 1), k, k)
    return net.op("QLinearConv", x, *given, *weights, *made, bias, pads=[k // 2] * 4, **attrs)


def quantized_operators(net: Net):
    """Convolutions, plain, depthwise and with their input quantized already, and a product, on integers throughout."""
    a, b, given = net.width(), net.width(), pair(net)
    x = net.op("QuantizeLinear", net.input("N", 3, 4, 4), *given)
    first, second, third, last = (pair(net) for _ in range(4))
    x = qconv(net, x, given, 3, a, first)
    x = qconv(net, x, first, a, a, second, group=a)
    x = net.op("MaxPool", qconv(net, x, second, a, b, third), kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Flatten", net.op("Reshape", x, net.ints(0, 0, -1, 2)))
    weights = net.const(net.rng.integers(0, 255, (4 * b, 3)), np.uint8), scale(net, 0.002, 0.008)
    x = net.op("QLinearMatMul", x, *third, *weights, net.const(120, np.uint8), *last)
    return (net.op("DequantizeLinear", x, *last),)


def quantized_residual(net: Net):
    """As ONNX Runtime quantizes: sums, joins, pools and activations on integers, a dense layer at the end."""
    a, b, given = net.width(), net.width(), pair(net, np.int8)
    x = net.op("QuantizeLinear", net.relu(net.conv(net.input("N", 3, 4, 4), 3, a)), *given)
    branch, total, other, joint, last = (pair(net, np.int8) for _ in range(5))
    y = qconv(net, x, given, a, a, branch)
    y = net.op("QLinearLeakyRelu", y, *branch, *branch, alpha=0.1, **MICROSOFT)
    x = net.op("QLinearAdd", x, *given, y, *branch, *total, **MICROSOFT)
    y = qconv(net, x, total, a, b, other, k=1)
    x = net.op("QLinearConcat", *joint, x, *total, y, *other, axis=1, **MICROSOFT)
    x = net.op("QLinearGlobalAveragePool", x, *joint, *last, **MICROSOFT)
    weights = kernel(net, a + b, 3, axis=1)
    return (net.op("QGemm", net.op("Flatten", x), *last, *weights, net.const([5, 0, -7], np.int32), **MICROSOFT),)


def quantized_in_a_run(net: Net):
    """Products with activations quantized on the way, once by the product itself."""
    a, b = net.width(), net.width()
    x = net.relu(net.linear(net.input("N", 4), 4, a))
    weights = net.const(net.rng.integers(-90, 90, (a, b)), np.int8), scale(net, 0.01, 0.02, b)
    x = net.relu(net.op("DynamicQuantizeMatMul", x, *weights, net.const(np.zeros(b), np.int8), net.w(b), **MICROSOFT))
    ints, step, zero = net.op("DynamicQuantizeLinear", x, outs=3)
    weights = net.const(net.rng.integers(0, 255, (b, 3)), np.uint8), step, scale(net, 0.01, 0.02, 3), zero
    return (net.op("MatMulIntegerToFloat", ints, *weights, net.const([120] * 3, np.uint8), net.w(3), **MICROSOFT),)


def quantized_attention(net: Net):
    """Attention on integers, which the product with its weights takes, and one with weights of other zero points."""
    h, d = net.width(), net.width()
    e = h * d
    x = net.linear(net.input(2, 3, 4), 4, e)
    for k in range(2):
        at = pair(net)
        ints = net.op("QuantizeLinear", x, *at)
        weights, step, zero = kernel(net, e, 3 * e, axis=1)
        if k:
            step, zero = scale(net, 0.002, 0.008), net.const(3, np.int8)
        y = net.op("QAttention", ints, weights, net.w(3 * e), at[0], step, "", at[1], zero, **MICROSOFT, num_heads=h)
        x = net.op("Add", x, net.linear(y, e, e))
    return (net.linear(x, e, 3),)


def quantized_recurrent(net: Net):
    """LSTMs whose weights are integers, in one and in both directions, with one scale and with one for each gate."""
    a, h = net.width(), net.width()
    x = net.linear(net.input(3, 2, 4), 4, a)
    states = net.w(1, 2, h), net.w(1, 2, h), net.w(1, 3 * h)
    y = lstm(net, x, a, h, ["", *states], (1, 4 * h))
    z = lstm(net, net.op("Squeeze", y, net.ints(1)), h, h, [], (2,), direction="bidirectional")
    z = net.op("Reshape", net.op("Transpose", z, perm=[0, 2, 1, 3]), net.ints(3, 2, -1))
    return (net.linear(z, 2 * h, 3),)


def lstm(net: Net, x: str, a: int, h: int, rest: list[str], scales: tuple[int, ...], **attrs) -> str:
    """A layer of h units on a features, its weights integers with as many scales."""
    d = 2 if attrs else 1
    ints = [net.const(net.rng.integers(-90, 90, (d, n, 4 * h)), np.int8) for n in (a, h)]
    steps = [s for _ in ints for s in (scale(net, 0.005, 0.01, scales), net.const(np.zeros(scales), np.int8))]
    given = [x, *ints, net.w(d, 8 * h), *rest, *[""] * (4 - len(rest)), *steps]
    return net.op("DynamicQuantizeLSTM", *given, outs=2, hidden_size=h, **MICROSOFT, **attrs)[0]


FAMILIES = (
    quantized_operators,
    quantized_residual,
    quantized_in_a_run,
    quantized_attention,
    quantized_recurrent,
)
