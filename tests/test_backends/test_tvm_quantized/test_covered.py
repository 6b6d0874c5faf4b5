"""What networks of eight bits are made of is computed on their integers, whichever the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import written
from pfir.cores import VNNI_CORES
from pfir.target import Target, parse_target
from tests.support.net import Net
from tests.test_backends.bundle import sized, under_construction
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

Case = Callable[[QuantizedNet], str]
_MEANING = (0.04, -9)
_BYTES = ("int8", "uint8")


def _alone(q: QuantizedNet, x: str, scale: float, point: int) -> str:
    """The tensor by way of integers that a pool reads, so that no kernel computes on with it."""
    return q.pair(q.net.op("MaxPool", q.pair(x, scale, point), kernel_shape=[1, 1]), scale, point)


def _op(op: str, *constants: np.ndarray | None, same: bool = False, **attributes) -> Case:
    """An operator on integers, whose results are others, or the `same` elsewhere."""

    def build(q: QuantizedNet) -> str:
        given = ("" if constant is None else q.net.const(constant) for constant in constants)
        x = q.net.op(op, _alone(q, q.features(16, 8, 8), *_MEANING), *given, **attributes)
        return _alone(q, x, *(_MEANING if same else (0.05, -20)))

    return build


def _line(kernel: int, group: int = 1, **attributes) -> Case:
    def build(q: QuantizedNet) -> str:
        x, pads = q.pair(q.net.input(1, 16, 40), 0.03, 5), [kernel // 2] * 2
        return q.net.op(
            "Conv", x, q.weight(16, 16 // group, kernel), q.bias(16, 0.03), pads=pads, group=group, **attributes
        )

    return build


def _dense(q: QuantizedNet) -> str:
    return q.net.op("Gemm", q.pair(q.net.input(3, 24), 0.03, -6), q.weight(24, 7, axis=1), q.bias(7, 0.03))


def _product(q: QuantizedNet) -> str:
    return q.net.op("MatMul", q.pair(q.net.input(2, 5, 24), 0.03, -6), q.weight(24, 10, axis=1))


def _split(q: QuantizedNet) -> str:
    x = _alone(q, q.features(16, 8, 8), *_MEANING)
    left, right = (q.pair(part, *_MEANING) for part in q.net.op("Split", x, q.net.ints(8, 8), outs=2, axis=1))
    return _alone(q, q.net.op("Concat", right, left, axis=1), *_MEANING)


LAYERS: dict[str, Case] = {
    "along a line": _line(3),
    "along a line, strided": _line(5, strides=[2]),
    "at each place of a line": _line(1),
    "dense": _dense,
    "product": _product,
}
_NEAREST = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
_SLOPES = np.linspace(0.1, 0.4, 16, dtype=np.float32).reshape(16, 1, 1)
ELEMENTS: dict[str, Case] = {
    "resize": _op("Resize", None, np.float32([1, 1, 2, 2]), same=True, **_NEAREST),
    "pad": _op("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), same=True),
    "split": _split,
    "times a number": _op("Mul", np.float32(0.7)),
    "times numbers of channels": _op("Mul", _SLOPES),
    "hard swish": _op("HardSwish"),
    "sigmoid": _op("Sigmoid"),
    "tanh": _op("Tanh"),
    "slope": _op("PRelu", np.full((1, 1, 1), 0.2, np.float32)),
    "slopes": _op("PRelu", _SLOPES),
}
_VNNI = replace(parse_target("x86-64-v4"), name="vnni", cpu=VNNI_CORES[-1])
TARGETS = (*map(parse_target, ("neoverse-n1", "cortex-a72", "armv7", "x86-64-v3")), _VNNI)


def _written(case: Case, target: Target) -> list[tuple[str, list[str], str]]:
    """Family, types that are read, and that which is written, of each kernel."""
    net: Net = under_construction()
    net.output("y", case(QuantizedNet(net)))
    program = written(sized(net), target)
    assert not program.slow
    specs = [spec for spec, _ in program.calls]
    return [(spec.family, [form.dtype for form in spec.operands], spec.out.dtype) for spec in specs]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_layers_sum_integers(target):
    for name, case in LAYERS.items():
        families = [family for family, _, _ in _written(case, target)]
        assert "conv_int8" in families and not {"product", "dots", "conv", "direct", "winograd"} & set(families), name


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_stands_between_them_reads_and_writes_eight_bits(target):
    for name, case in ELEMENTS.items():
        first, *between, last = _written(case, target)  # what makes integers of the input, and floats of the output
        assert first[2] in _BYTES and last[2] == "float32", name
        for _, read, made in between:
            assert read[0] in _BYTES and made in _BYTES, name


def test_channels_of_a_line_that_stand_alone_are_summed_apart():
    for target in TARGETS[:3]:
        assert "depthwise_int8" in [family for family, _, _ in _written(_line(3, group=16), target)]
