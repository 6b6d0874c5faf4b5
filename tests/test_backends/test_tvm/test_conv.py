"""Convolutions, products and pools of the TVM backend agree with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.net import Net
from tests.test_backends.bundle import answers_of_cases, error


def _conv(shape, out, kernel, group=1, bias=True, **attributes):
    def build(b: Net) -> str:
        weight = b.w(out, shape[1] // group, *kernel)
        inputs = [b.input(*shape), weight] + ([b.w(out)] if bias else [])
        return b.op("Conv", *inputs, group=group, **attributes)

    return build


def _transposed(shape, out, kernel, group=1, **attributes):
    def build(b: Net) -> str:
        return b.op(
            "ConvTranspose",
            b.input(*shape),
            b.w(shape[1], out // group, *kernel),
            b.w(out),
            group=group,
            **attributes,
        )

    return build


def _pool(op, shape, **attributes):
    return lambda b: b.op(op, b.input(*shape), **attributes)


def _residual(b: Net) -> str:
    x = b.op("Relu", b.input(1, 13, 9, 9))
    y = b.op("Conv", x, b.w(13, 13, 3, 3), b.w(13), pads=[1, 1, 1, 1])
    z = b.op("Conv", b.op("PRelu", y, b.w(13, 1, 1)), b.w(13, 13, 1, 1), b.w(13))
    return b.op("Relu", b.op("Add", z, x))


def _squeeze_excite(b: Net) -> str:
    x = b.op("Conv", b.input(2, 12, 10, 10), b.w(12, 1, 5, 5), b.w(12), group=12, pads=[2, 2, 2, 2])
    x = b.op("HardSwish", x)
    s = b.op("Conv", b.op("GlobalAveragePool", x), b.w(3, 12, 1, 1), b.w(3))
    s = b.op("HardSigmoid", b.op("Conv", b.op("Relu", s), b.w(12, 3, 1, 1)), alpha=1 / 6)
    return b.op("Conv", b.op("Mul", x, s), b.w(7, 12, 1, 1))


def _swish_by_parts(b: Net) -> str:
    x = b.op("Conv", b.input(1, 8, 6, 6), b.w(10, 8, 1, 1))
    return b.op("Mul", x, b.op("Sigmoid", x))


def _relu6(b: Net) -> str:
    x = b.op("Conv", b.input(1, 9, 14, 14), b.w(9, 1, 3, 3), group=9, pads=[0, 0, 1, 1], strides=[2, 2])
    return b.op("Clip", x, b.const(np.float32(0)), b.const(np.float32(6)))


def _gemm(rows, inner, out, **attributes):
    def build(b: Net) -> str:
        weight = b.w(out, inner) if attributes.get("transB") else b.w(inner, out)
        return b.op("Gemm", b.input(rows, inner), weight, b.w(out), **attributes)

    return build


CASES = {
    "conv 3x3": _conv((1, 16, 12, 12), 16, (3, 3), pads=[1, 1, 1, 1]),
    "conv 3x3 with odd channels": _conv((1, 7, 13, 11), 19, (3, 3), pads=[1, 1, 1, 1]),
    "conv 3x3 without bias or pads": _conv((1, 5, 9, 9), 6, (3, 3), bias=False),
    "conv 3x3 strided": _conv((2, 12, 15, 15), 24, (3, 3), pads=[1, 1, 1, 1], strides=[2, 2]),
    "conv 5x3 with uneven pads and strides": _conv((1, 4, 17, 14), 9, (5, 3), pads=[2, 0, 1, 2], strides=[3, 2]),
    "conv 3x3 dilated": _conv((1, 6, 16, 16), 8, (3, 3), pads=[2, 2, 2, 2], dilations=[2, 2]),
    "conv same upper": _conv((1, 3, 15, 16), 8, (3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv same lower": _conv((1, 3, 15, 16), 8, (4, 4), auto_pad="SAME_LOWER", strides=[2, 2]),
    "conv 7x7 stem": _conv((1, 3, 29, 29), 10, (7, 7), pads=[3, 3, 3, 3], strides=[2, 2]),
    "conv 1x1": _conv((1, 17, 7, 9), 33, (1, 1)),
    "conv 1x1 to columns that fill no block": _conv((2, 9, 7, 5), 61, (1, 1)),
    "gemm to columns that fill no block": _gemm(7, 13, 26),
    "conv 1x1 of a batch": _conv((3, 8, 5, 5), 21, (1, 1)),
    "conv 1x1 strided": _conv((1, 10, 9, 9), 12, (1, 1), strides=[2, 2]),
    "conv 1x1 with pads": _conv((1, 6, 5, 5), 8, (1, 1), pads=[1, 1, 1, 1]),
    "conv grouped": _conv((1, 12, 10, 10), 18, (3, 3), group=3, pads=[1, 1, 1, 1]),
    "conv grouped 1x1": _conv((2, 8, 6, 6), 12, (1, 1), group=4),
    "depthwise 3x3": _conv((1, 16, 14, 14), 16, (3, 3), group=16, pads=[1, 1, 1, 1]),
    "depthwise 3x3 with odd channels": _conv((1, 23, 9, 10), 23, (3, 3), group=23, pads=[1, 1, 1, 1]),
    "depthwise 5x5 strided": _conv((2, 6, 15, 15), 6, (5, 5), group=6, pads=[2, 2, 2, 2], strides=[2, 2]),
    "depthwise with two outputs a channel": _conv((1, 5, 8, 8), 10, (3, 3), group=5, pads=[1, 1, 1, 1]),
    "depthwise with five outputs a channel": _conv((1, 2, 8, 8), 10, (3, 3), group=2, pads=[1, 1, 1, 1]),
    "depthwise dilated": _conv((1, 8, 12, 12), 8, (3, 3), group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
    "conv 1-d": _conv((1, 6, 20), 9, (5,), pads=[2, 2], strides=[2]),
    "conv 1-d depthwise": _conv((2, 6, 20), 6, (3,), group=6, pads=[1, 1]),
    "conv 3-d": _conv((1, 3, 5, 6, 7), 4, (3, 3, 3), pads=[1] * 6),
    "transposed conv": _transposed((1, 6, 5, 7), 9, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed conv 2x2": _transposed((1, 8, 6, 6), 4, (2, 2), strides=[2, 2]),
    "transposed conv 4x4": _transposed((2, 5, 5, 7), 12, (4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed conv of unequal strides": _transposed((1, 3, 5, 4), 7, (5, 3), strides=[3, 1], pads=[4, 1, 2, 0]),
    "transposed conv that leaves gaps": _transposed((1, 6, 4, 5), 8, (1, 2), strides=[2, 3], output_padding=[1, 1]),
    "transposed conv with output padding": _transposed(
        (1, 4, 5, 5), 5, (3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "transposed conv grouped": _transposed((1, 6, 5, 5), 4, (3, 3), group=2, dilations=[2, 1]),
    "transposed conv of given shape": _transposed((1, 4, 5, 5), 3, (3, 3), strides=[2, 2], output_shape=[10, 10]),
    "residual block": _residual,
    "squeeze and excite": _squeeze_excite,
    "swish by parts": _swish_by_parts,
    "strided depthwise with relu6": _relu6,
    "gemm": _gemm(1, 33, 10),
    "gemm transposed": _gemm(5, 16, 37, transB=1, alpha=0.5, beta=2.0),
    "matmul": lambda b: b.op("MatMul", b.input(2, 5, 12), b.w(12, 9)),
    "matmul of two inputs": lambda b: b.op("MatMul", b.input(2, 5, 6), b.input(2, 6, 7)),
    "max pool": _pool("MaxPool", (1, 9, 10, 10), kernel_shape=[2, 2], strides=[2, 2]),
    "max pool with pads": _pool("MaxPool", (1, 16, 11, 11), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "max pool rounded up": _pool("MaxPool", (1, 5, 10, 10), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max pool with windows outside": _pool(
        "MaxPool", (1, 5, 6, 6), kernel_shape=[2, 2], strides=[4, 4], pads=[1, 1, 1, 1], ceil_mode=1
    ),
    "average pool with windows outside": _pool(
        "AveragePool", (1, 5, 6, 6), kernel_shape=[2, 2], strides=[4, 4], pads=[1, 1, 1, 1], ceil_mode=1
    ),
    "average pool counting pads with windows outside": _pool(
        "AveragePool",
        (1, 5, 6, 6),
        kernel_shape=[2, 2],
        strides=[4, 4],
        pads=[1, 1, 1, 1],
        ceil_mode=1,
        count_include_pad=1,
    ),
    "average pool": _pool("AveragePool", (1, 6, 9, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool counting pads": _pool(
        "AveragePool", (1, 6, 9, 9), kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "max pool dilated": _pool(
        "MaxPool", (2, 3, 13, 17), kernel_shape=[3, 2], dilations=[2, 3], strides=[1, 2], pads=[2, 1, 1, 1]
    ),
    "max pool of wide windows": _pool(
        "MaxPool", (1, 21, 3, 70), kernel_shape=[2, 40], strides=[1, 3], pads=[0, 9, 1, 9]
    ),
    "average pool without overlap": _pool("AveragePool", (1, 40, 12, 30), kernel_shape=[2, 3], strides=[2, 3]),
    "average pool of one channel": _pool("AveragePool", (3, 1, 9, 50), kernel_shape=[5, 5], pads=[2, 2, 2, 2]),
    "average pool of everything": _pool("AveragePool", (1, 24, 8, 8), kernel_shape=[8, 8]),
    "global average pool": _pool("GlobalAveragePool", (2, 19, 7, 7)),
    "global max pool": _pool("GlobalMaxPool", (1, 8, 7, 7)),
}


@pytest.fixture(scope="module")
def results():
    return answers_of_cases(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5
