"""Models of eight bits give what ONNX Runtime gives, within one step of their output's scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers_emulated, answers_of_cases, bundled
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

Case = Callable[[QuantizedNet], str]
LOWEST = -128


def _layer(channels: int, out: int, kernel: int = 3, after: str = "", axis: int | None = 0, **attributes) -> Case:
    def build(q: QuantizedNet) -> str:
        x = q.conv(q.features(channels), channels, out, kernel, axis=axis, **attributes)
        return q.pair(q.net.op(after, x) if after else x, point=LOWEST if after else 3)

    return build


def _clipped(q: QuantizedNet) -> str:
    bounds = q.net.const(np.float32(0)), q.net.const(np.float32(6))
    return q.pair(q.net.op("Clip", q.conv(q.features(), 12, 16), *bounds), point=LOWEST)


def _residual(q: QuantizedNet) -> str:
    x = q.features()
    y = q.pair(q.conv(x, 12, 12), 0.06, 11)
    return q.pair(q.net.op("Relu", q.net.op("Add", x, y)), point=LOWEST)


def _read_twice(q: QuantizedNet) -> str:
    """Integers that two layers read by nodes of their own."""
    x = q.integers(q.conv(q.features(), 12, 12), 0.04, -4)
    left, right = (q.conv(q.floats(x, 0.04, -4), 12, 8, kernel) for kernel in (1, 3))
    return q.pair(q.net.op("Add", q.pair(left, 0.03, 0), q.pair(right, 0.05, 1)))


def _dense(q: QuantizedNet) -> str:
    x = q.pair(q.net.op("GlobalAveragePool", q.features()), 0.02, 4)
    x = q.net.op("Flatten", x)
    return q.pair(q.net.op("Gemm", x, q.weight(12, 7, axis=1), q.bias(7, 0.02)))


def _turned(q: QuantizedNet) -> str:
    x = q.pair(q.net.op("ReduceMean", q.features(), axes=[2, 3]), 0.02, 4)
    return q.pair(q.net.op("Gemm", q.net.op("Flatten", x), q.weight(7, 12, axis=0), q.bias(7, 0.02), transB=1))


def _matmul(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(2, 5, 24), 0.03, -6)
    return q.pair(q.net.op("MatMul", x, q.weight(24, 10, axis=1)))


def _transposed_weight(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(5, 24), 0.03, -6)
    return q.pair(q.net.op("MatMul", x, q.net.op("Transpose", q.weight(10, 24), perm=[1, 0])))


def _attention(q: QuantizedNet) -> str:
    """A product of two activations."""
    left, right = q.pair(q.net.input(2, 5, 8), 0.03, -6), q.pair(q.net.input(2, 8, 6), 0.02, 9)
    return q.pair(q.net.op("MatMul", left, right))


def _transposed_conv(q: QuantizedNet) -> str:
    return q.pair(q.net.op("ConvTranspose", q.features(), q.weight(12, 6, 2, 2, axis=None), strides=[2, 2]))


def _along_a_line(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(1, 6, 20), 0.03, 5)
    return q.pair(q.net.op("Conv", x, q.weight(8, 6, 3), q.bias(8, 0.03), pads=[1, 1]))


def _same(op: str, *constants: np.ndarray, meaning: tuple[float, int] = (0.04, -9), **attributes) -> Case:
    """What moves integers, which stand for the same behind it."""

    def build(q: QuantizedNet) -> str:
        x = q.net.op(op, q.features(), *(q.net.const(c) for c in constants), **attributes)
        return q.pair(q.pair(x, *meaning))

    return build


def _other(op: str, *constants: np.ndarray, **attributes) -> Case:
    """The same with another scale behind it."""
    return _same(op, *constants, meaning=(0.1, 20), **attributes)


def _joined(*meanings: tuple[float, int], result: tuple[float, int] = (0.04, -9)) -> Case:
    def build(q: QuantizedNet) -> str:
        parts = [q.pair(q.conv(q.image(1, 3, 5, 6), 3, 8), *meaning) for meaning in meanings]
        return q.pair(q.pair(q.net.op("Concat", *parts, axis=1), *result))

    return build


def _split(q: QuantizedNet) -> str:
    parts = q.net.op("Split", q.features(), q.net.ints(4, 8), outs=2, axis=1)
    return q.pair(q.net.op("Concat", *(q.pair(part, 0.04, -9) for part in reversed(parts)), axis=1))


def _shuffled(q: QuantizedNet) -> str:
    x = q.net.op("Reshape", q.features(), q.net.ints(1, 2, 6, 7, 9))
    x = q.net.op("Transpose", q.pair(x, 0.04, -9), perm=[0, 2, 1, 3, 4])
    x = q.net.op("Reshape", q.pair(x, 0.04, -9), q.net.ints(1, 12, 7, 9))
    return q.pair(q.conv(x, 12, 8), point=1)


def _moved_integers(q: QuantizedNet) -> str:
    """Operators on the integers themselves."""
    x = q.integers(q.conv(q.image(1, 3, 8, 8), 3, 12), 0.04, -9)
    x = q.net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = q.net.op("Transpose", x, perm=[0, 2, 3, 1])
    return q.floats(q.net.op("Reshape", x, q.net.ints(1, -1)), 0.04, -9)


def _swish(q: QuantizedNet) -> str:
    x = q.pair(q.conv(q.features(), 12, 8), 0.04, 2)
    return q.pair(q.net.op("Mul", x, q.pair(q.net.op("Sigmoid", x), 1 / 256, LOWEST)))


def _swish_and_sum(q: QuantizedNet) -> str:
    """A value that is used twice, and another tensor that is read."""
    x = q.features()
    y = q.pair(q.conv(x, 12, 12), 0.04, 2)
    y = q.net.op("Mul", y, q.net.op("Sigmoid", y))
    return q.pair(q.net.op("Add", y, x))


def _squeeze_excite(q: QuantizedNet) -> str:
    x = q.features()
    s = q.pair(q.net.op("GlobalAveragePool", x), 0.02, 1)
    s = q.pair(q.net.op("Relu", q.conv(s, 12, 4, 1)), 0.02, LOWEST)
    s = q.pair(q.net.op("HardSigmoid", q.pair(q.conv(s, 4, 12, 1), 0.04, 2)), 1 / 256, LOWEST)
    return q.pair(q.net.op("Mul", x, s))


def _left_in_float(q: QuantizedNet) -> str:
    """Layers between that have no integers."""
    x = q.net.op("Conv", q.features(), q.net.w(8, 12, 3, 3), pads=[1] * 4)
    return q.pair(q.conv(q.pair(q.net.op("Relu", x), 0.05, LOWEST), 8, 6, 1))


CASES: dict[str, Case] = {
    "an image": lambda q: q.pair(q.conv(q.image(2, 3, 11, 13), 3, 16, step=0.03, strides=[2, 2])),
    "a convolution": _layer(12, 20),
    "a convolution and Relu": _layer(12, 20, after="Relu"),
    "one scale for all weights": _layer(12, 20, axis=None),
    "strides": _layer(12, 20, strides=[2, 2]),
    "a large window": _layer(12, 8, kernel=5),
    "pointwise": _layer(12, 20, kernel=1, after="Relu"),
    "groups": _layer(12, 20, group=4),
    "depthwise": _layer(12, 12, group=12, after="Relu"),
    "depthwise with strides": _layer(12, 12, kernel=5, group=12, strides=[2, 2]),
    "clipped": _clipped,
    "residual": _residual,
    "read twice": _read_twice,
    "dense": _dense,
    "dense by turned weights": _turned,
    "a product": _matmul,
    "a product by a Transpose": _transposed_weight,
    "a product of activations": _attention,
    "transposed convolution": _transposed_conv,
    "along a line": _along_a_line,
    "MaxPool": _same("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "MaxPool to another scale": _other("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "AveragePool": _same("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "GlobalMaxPool": _same("GlobalMaxPool"),
    "GlobalAveragePool": _other("GlobalAveragePool"),
    "Transpose": _same("Transpose", perm=[0, 2, 3, 1]),
    "Pad": _same("Pad", np.int64([0, 0, 1, 2, 0, 0, 0, 1])),
    "Pad by a value": _same("Pad", np.int64([0, 1, 1, 0, 0, 0, 0, 1]), np.float32(1.01)),
    "Slice": _same("Slice", np.int64([1, 0]), np.int64([9, 9]), np.int64([1, 3]), np.int64([1, 2])),
    "Gather": _same("Gather", np.int64([3, 0, 5]), axis=1),
    "Resize": _same("Resize", np.float32([]), np.float32([1, 1, 2, 2]), mode="nearest"),
    "Resize by lines": _same("Resize", np.float32([]), np.float32([1, 1, 2, 2]), mode="linear"),
    "DepthToSpace": _same("DepthToSpace", blocksize=2),
    "Concat": _joined((0.04, -9), (0.04, -9)),
    "Concat of other scales": _joined((0.04, -9), (0.03, 5), (0.06, 0)),
    "Split": _split,
    "shuffled channels": _shuffled,
    "moves of integers": _moved_integers,
    "swish": _swish,
    "swish and a sum": _swish_and_sum,
    "squeeze and excite": _squeeze_excite,
    "layers left in float": _left_in_float,
    "Softmax": lambda q: q.pair(q.net.op("Softmax", q.features(), axis=1), 1 / 256, LOWEST),
}


def _built(dtype: type) -> dict[str, Callable[[Net], str]]:
    return {name: lambda net, case=case: case(QuantizedNet(net, dtype)) for name, case in CASES.items()}


def _some(names: tuple[str, ...]) -> dict[str, Callable[[Net], str]]:
    return {name: case for name, case in _built(np.uint8).items() if name in names}


@pytest.fixture(scope="module", params=[np.int8, np.uint8], ids=["int8", "uint8"])
def results(request):
    return answers_of_cases(_built(request.param))


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    ours, theirs = results[name]
    steps = np.abs(ours - theirs) / STEP
    assert theirs.std() > 0.1 * STEP and steps.max() < 1.01
    assert (steps > 0.01).mean() < 0.1


INTEGERS = ("an image", "a convolution", "strides", "pointwise", "residual", "read twice", "a product", "along a line")


def test_layers_have_kernels_of_integers_and_nothing_is_copied_to_floats():
    program = written(bundled(_some(INTEGERS)), parse_target("cortex-a76"))
    specs = [spec for spec, _ in program.calls]
    assert {spec.family for spec in specs} == {"affine", "conv_int8", "transpose"}  # the last one of outputs
    copies = [spec for spec in specs if spec.family == "affine" and spec["kind"] == "copy"]
    assert not [spec for spec in copies if spec.operands[0].quantization is not None]
    assert not program.slow


@pytest.mark.parametrize("target", ["arm", "armv7", "x86-64"])
def test_targets_without_dot_products_have_kernels_of_integers_too(target):
    program = written(bundled(_some(INTEGERS)), parse_target(target))
    assert {"conv_int8"} <= {spec.family for spec, _ in program.calls}


EMULATED = ("an image", "residual", "depthwise", "dense", "MaxPool", "Concat of other scales", "swish")


def test_emulated_arm_gives_the_same():
    model = bundled(_some(EMULATED))
    both, theirs = answers_emulated(model, "arm", "cortex-a76")
    for ours in both:
        for name, result in theirs.items():
            assert np.abs(ours[name] - result).max() < 1.01 * STEP
