"""Activations, element-wise chains and data movement of the TVM backend agree with ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.net import Net
from tests.test_backends.bundle import answers_of_cases, error


def _unary(op, *shape, **attributes):
    return lambda b: b.op(op, b.input(*(shape or (2, 7, 5, 3))), **attributes)


def _wide(op, scale=30.0, **attributes):
    """Values far from zero, where exponentials saturate."""
    return lambda b: b.op(op, b.op("Mul", b.input(3, 40), b.const(np.float32(scale))), **attributes)


def _small(op):
    return lambda b: b.op(op, b.op("Mul", b.input(3, 40), b.const(np.float32(1e-3))))


def _positive(op):
    return lambda b: b.op(op, b.op("Add", b.op("Abs", b.input(3, 17)), b.const(np.float32(0.1))))


def _broadcast(op, left, right):
    return lambda b: b.op(op, b.input(*left), b.op("Add", b.input(*right), b.const(np.float32(3))))


def _clip(low, high):
    def build(b: Net) -> str:
        bounds = ["" if v is None else b.const(np.float32(v)) for v in (low, high)]
        return b.op("Clip", b.input(2, 9), *bounds)

    return build


def _after_conv(*ops):
    """NHWC inside, so that the operator meets a tensor whose memory order is not ONNX's."""

    def build(b: Net) -> str:
        x = b.op("Conv", b.input(1, 4, 6, 6), b.w(6, 4, 1, 1))
        for op in ops:
            x = op(b, x)
        return x

    return build


def _transpose(*perm):
    return lambda b, x: b.op("Transpose", x, perm=list(perm))


def _reshape(*shape):
    return lambda b, x: b.op("Reshape", x, b.ints(*shape))


def _pad(pads, mode="constant", value=None):
    def apply(b: Net, x: str) -> str:
        extra = [] if value is None else [b.const(np.float32(value))]
        return b.op("Pad", x, b.ints(*pads), *extra, mode=mode)

    return apply


def _slice(starts, ends, axes, steps):
    return lambda b, x: b.op("Slice", x, b.ints(*starts), b.ints(*ends), b.ints(*axes), b.ints(*steps))


def _simple(op, **attributes):
    return lambda b, x: b.op(op, x, **attributes)


def _resize(scales, **attributes):
    return lambda b, x: b.op("Resize", x, "", b.const(np.array(scales, np.float32)), **attributes)


def _resize_to(sizes, **attributes):
    return lambda b, x: b.op("Resize", x, "", "", b.ints(*sizes), **attributes)


def _split(b: Net, x: str) -> str:
    parts = b.op("Split", x, b.ints(1, 2, 3), outs=3, axis=1)
    return b.op("Add", b.op("Concat", parts[2], parts[0], axis=1), b.w(1, 4, 6, 6))


def _concat(b: Net) -> str:
    x = b.input(1, 5, 6, 6)
    y = b.op("Conv", x, b.w(3, 5, 1, 1))
    return b.op("Relu", b.op("Concat", x, y, b.w(1, 2, 6, 6), axis=1))


def _reduce_mean(axes, keepdims):
    return lambda b, x: b.op("ReduceMean", x, axes=axes, keepdims=keepdims)


def _layer_norm(b: Net) -> str:
    return b.op("LayerNormalization", b.input(2, 5, 12), b.w(12), b.w(12), axis=-1)


def _batch_norm(b: Net) -> str:
    spread = b.const(np.full(4, 0.7, np.float32))
    return b.op("BatchNormalization", b.input(1, 4, 5, 5), b.w(4), b.w(4), b.w(4), spread)


def _chain(b: Net) -> str:
    x = b.input(2, 33)
    for _ in range(6):
        x = b.op("Mul", x, b.op("Sigmoid", x))
    return x


def _shuffle(b: Net, x: str) -> str:
    y = b.op("Reshape", x, b.ints(1, 2, 3, 6, 6))
    return b.op("Reshape", b.op("Transpose", y, perm=[0, 2, 1, 3, 4]), b.ints(1, 6, 6, 6))


CASES = {
    **{
        op: _unary(op)
        for op in (
            "Relu",
            "LeakyRelu",
            "Sigmoid",
            "HardSigmoid",
            "HardSwish",
            "Tanh",
            "Exp",
            "Abs",
            "Neg",
            "Elu",
            "Selu",
            "Softsign",
            "ThresholdedRelu",
            "Erf",
            "Floor",
            "Ceil",
            "Softplus",
        )
    },
    **{f"{op} saturated": _wide(op) for op in ("Sigmoid", "Tanh", "Exp", "Erf", "Elu")},
    "Tanh near zero": _small("Tanh"),
    **{op: _positive(op) for op in ("Sqrt", "Reciprocal", "Log")},
    "PRelu": lambda b: b.op("PRelu", b.input(1, 6, 4, 4), b.w(6, 1, 1)),
    "Clip": _clip(-0.5, 0.5),
    "Clip from below": _clip(0.0, None),
    "Clip from above": _clip(None, 0.3),
    "Div with broadcast": _broadcast("Div", (2, 5, 4), (5, 1)),
    "Mul of two vectors": _broadcast("Mul", (4, 1), (1, 6)),
    "Sub from a scalar": lambda b: b.op("Sub", b.const(np.float32(1)), b.input(3, 4)),
    "Pow": lambda b: b.op("Pow", b.input(3, 4), b.const(np.float32(2))),
    "Max of three": lambda b: b.op("Max", b.input(3, 4), b.input(3, 4), b.input(1, 4)),
    "chain that uses its value twice": _chain,
    "Transpose": _after_conv(_transpose(0, 2, 3, 1)),
    "Transpose there and back": _after_conv(_transpose(2, 0, 3, 1), _simple("Relu"), _transpose(1, 3, 0, 2)),
    "Reshape": _after_conv(_reshape(1, 3, -1)),
    "Flatten": _after_conv(_simple("Flatten")),
    "channel shuffle": _after_conv(_shuffle),
    "Squeeze": _after_conv(lambda b, x: b.op("Squeeze", x, b.ints(0))),
    "Unsqueeze": _after_conv(lambda b, x: b.op("Unsqueeze", x, b.ints(0, 3))),
    "Pad of channels": _after_conv(_pad([0, 2, 0, 0, 0, 3, 0, 0])),
    "Pad of rows with a value": _after_conv(_pad([0, 0, 1, 2, 0, 0, 3, 0], value=1.5)),
    "Pad by reflection": _after_conv(_pad([0, 0, 2, 1, 0, 0, 1, 3], mode="reflect")),
    "Pad by edges": _after_conv(_pad([0, 0, 2, 1, 0, 0, 1, 3], mode="edge")),
    "Pad that crops": _after_conv(_pad([0, 0, -1, 0, 0, 0, 0, -2])),
    "Slice with steps": _after_conv(_slice([0, 1], [6, 6], [2, 3], [2, 2])),
    "Slice backwards": _after_conv(_slice([-1], [-100], [1], [-1])),
    "Concat": _concat,
    "Split": _after_conv(_split),
    "Resize nearest": _after_conv(
        _resize([1, 1, 2, 2], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    ),
    "Resize nearest half pixel": _after_conv(_resize([1, 1, 1.5, 3.0], mode="nearest")),
    "Resize linear": _after_conv(_resize([1, 1, 2, 2], mode="linear")),
    "Resize linear pytorch": _after_conv(
        _resize_to([1, 6, 9, 1], mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    ),
    "Resize linear corners": _after_conv(
        _resize_to([1, 6, 11, 4], mode="linear", coordinate_transformation_mode="align_corners")
    ),
    "Resize cubic": _after_conv(_resize([1, 1, 2, 2], mode="cubic")),
    "DepthToSpace": lambda b: b.op("DepthToSpace", b.input(1, 12, 3, 3), blocksize=2),
    "DepthToSpace by columns": lambda b: b.op("DepthToSpace", b.input(1, 12, 3, 3), blocksize=2, mode="CRD"),
    "SpaceToDepth": lambda b: b.op("SpaceToDepth", b.input(1, 3, 4, 6), blocksize=2),
    "Expand": lambda b: b.op("Expand", b.input(3, 1), b.ints(2, 3, 4)),
    "Gather": lambda b: b.op("Gather", b.input(3, 5), b.ints(4, 0, 2), axis=1),
    "Gather from a convolution": _after_conv(lambda b, x: b.op("Gather", x, b.ints(-1, 0, 2), axis=1)),
    "Gather of one place": _after_conv(lambda b, x: b.op("Gather", x, b.const(np.int64(3)), axis=2)),
    "scalars": lambda b: b.op("Mul", b.input(2, 3), b.op("Relu", b.op("ReduceSum", b.input(3, 4), keepdims=0))),
    "scalar output": lambda b: b.op("ReduceMean", b.op("Exp", b.input(3, 4)), keepdims=0),
    "Gather to a scalar": lambda b: b.op("Gather", b.input(5), b.const(np.int64(3))),
    "Softmax": _wide("Softmax", 3.0),
    "Softmax over channels": _after_conv(_simple("Softmax", axis=1)),
    "LogSoftmax": _wide("LogSoftmax", 3.0),
    "ReduceMean": _after_conv(_reduce_mean([2, 3], 1)),
    "ReduceMean without its axes": _after_conv(_reduce_mean([2, 3], 0)),
    "ReduceMean of channels": _after_conv(_reduce_mean([1], 1)),
    "ReduceSum": _after_conv(lambda b, x: b.op("ReduceSum", x, b.ints(-1), keepdims=0)),
    "LayerNormalization": _layer_norm,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": lambda b: b.op("InstanceNormalization", b.input(1, 4, 5, 5), b.w(4), b.w(4)),
    "constant output": lambda b: b.op("Identity", b.w(2, 3)),
}


@pytest.fixture(scope="module")
def results():
    return answers_of_cases(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5
