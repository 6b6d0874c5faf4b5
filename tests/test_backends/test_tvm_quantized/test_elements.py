"""Chains of element-wise nodes and averages over integers of eight bits, by tables, integers and floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import Kernel
from pfir.backends.tvm.counts.integers.elements import ADDITION, FLOATS, TABLE, kind_of
from pfir.backends.tvm.counts.kernel import CALL, KernelCounts
from pfir.backends.tvm.kernels.integers.others.additions import addition_of
from pfir.backends.tvm.lowering.form import KernelSpec, Quantization, Step, channels_last
from pfir.backends.tvm.lowering.lower import written
from pfir.target import INT8, parse_target
from pfir.workload import Tail, Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers_emulated, answers_of_cases, bundled
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

Case = Callable[[QuantizedNet], str]
_SHAPE = (1, 12, 9, 9)


def _alone(q: QuantizedNet, x: str, scale: float, point: int) -> str:
    """The tensor by way of integers that a pool reads, so that no kernel computes on with it."""
    return q.pair(q.net.op("MaxPool", q.pair(x, scale, point), kernel_shape=[1, 1]), scale, point)


def _integers(q: QuantizedNet) -> str:
    return _alone(q, q.features(*_SHAPE[1:]), 0.04, -9)


def _function(op: str, **attributes: float) -> Case:
    return lambda q: _alone(q, q.net.op(op, _integers(q), **attributes), 0.01, -60)


def _slopes(q: QuantizedNet) -> str:
    return _alone(q, q.net.op("PRelu", _integers(q), q.net.const(np.float32([[[0.2]]]))), 0.03, 9)


def _swish(q: QuantizedNet) -> str:
    """Behind a convolution, whose integers are read twice."""
    x = q.features(*_SHAPE[1:])
    return _alone(q, q.net.op("Mul", x, q.pair(q.net.op("Sigmoid", x), 1 / 256, -128)), 0.03, -20)


def _sum(after: str = "", scales: tuple[float, float] = (0.031, 0.047), point: int = 3) -> Case:
    meanings = (scales[0], 5), (scales[1], -9)

    def build(q: QuantizedNet) -> str:
        left, right = (_alone(q, q.net.input(*_SHAPE), *meaning) for meaning in meanings)
        added = q.net.op("Add", left, right)
        return _alone(q, q.net.op(after, added) if after else added, STEP, point)

    return build


def _average(height: int = 9, width: int = 9, channels: int = 20, **attributes) -> Case:
    attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]} | attributes
    return lambda q: q.pair(q.net.op("AveragePool", q.features(channels, height, width), **attributes), 0.023, 7)


def _mean(height: int, width: int, channels: int = 20) -> Case:
    return lambda q: q.pair(q.net.op("GlobalAveragePool", q.features(channels, height, width)), 0.01, 4)


CASES: dict[str, Case] = {
    "sigmoid": _function("Sigmoid"),
    "tanh": _function("Tanh"),
    "hard swish": _function("HardSwish"),
    "elu": _function("Elu", alpha=0.7),
    "slopes": _slopes,
    "swish": _swish,
    "sum": _sum(),
    "sum, not negative": _sum("Relu"),
    "halves": _sum(scales=(0.025, 0.1)),
    "average": _average(),
    "average, strided": _average(strides=[2, 2]),
    "average with the border": _average(strides=[2, 2], count_include_pad=1),
    "average, rounded up": _average(8, 8, ceil_mode=1, strides=[2, 2], pads=[0, 0, 0, 0]),
    "average of many": _average(19, 18, kernel_shape=[17, 17], pads=[0, 0, 0, 0]),
    "mean": _mean(7, 7),
    "mean of many": _mean(20, 17, 37),
}
EMULATED = ("sigmoid", "swish", "sum", "sum, not negative", "average, strided", "mean of many")


def _nets(names: tuple[str, ...], dtype: type = np.int8) -> dict[str, Callable[[Net], str]]:
    return {name: lambda net, case=CASES[name]: case(QuantizedNet(net, dtype)) for name in names}


@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
def test_results_are_those_of_onnx_runtime(dtype):
    for name, (ours, theirs) in answers_of_cases(_nets(tuple(CASES), dtype)).items():
        assert np.abs(ours - theirs).max() < 1.01 * STEP, name


def test_few_results_differ_by_a_step():
    for name, (ours, theirs) in answers_of_cases(_nets(EMULATED)).items():
        assert np.mean(np.abs(ours - theirs) > 1e-6) < 0.02, name


def test_emulated_arm_gives_the_same():
    (ours,), theirs = answers_emulated(bundled(_nets(EMULATED)), "cortex-a76")
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < 1.01 * STEP
        assert np.mean(np.abs(ours[name] - result) > 1e-6) < 0.02


def test_a_function_behind_a_convolution_is_a_table_of_its_integers():
    calls = written(bundled(_nets(("swish",))), parse_target("cortex-a76")).calls
    assert [spec.family for spec, _ in calls if spec.family in ("conv_int8", "table")] == ["conv_int8", "table"]


def test_arm_adds_integers_looks_functions_up_and_sums_in_sixteen_bits():
    program = written(bundled(_nets(EMULATED)), parse_target("cortex-a76"))
    assert {"add_int8", "mean_int8", "table"} <= {spec.family for spec, _ in program.calls}


def _addition(left: float, right: float, result: float = 1.0, after: tuple[Step, ...] = ()) -> KernelSpec:
    forms = tuple(
        replace(channels_last(_SHAPE, "int8"), quantization=Quantization(scale, zero))
        for scale, zero in ((left, 5), (right, -9))
    )
    last = Step("QuantizeLinear", (("dtype", "int8"), ("scale", result), ("zero_point", 3)), (("step", len(after)),))
    steps = (Step("Add", (), (("operand", 0), ("operand", 1))), *after, last)
    return KernelSpec("affine", (("kind", "steps"),), forms, 0, steps, channels_last(_SHAPE, "int8"))


@pytest.mark.parametrize("scales", [(0.3, 0.9), (1.7, 0.2), (0.011, 0.012), (0.5001, 0.7)])
def test_a_sum_of_integers_is_close_to_that_of_numbers(scales):
    found = addition_of(_addition(*scales))
    left, right = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    total = found.multipliers[0] * (left - found.points[0]) + found.multipliers[1] * (right - found.points[1])
    numbers = scales[0] * (left - 5) + scales[1] * (right + 9)
    assert np.abs(total).max() < 2**31 and np.abs(total / 2**found.shift - numbers).max() < 0.02


def test_a_sum_that_is_often_halfway_between_integers_is_one_of_floats():
    assert addition_of(_addition(0.5, 0.25)) is None


def test_a_sum_of_large_steps_is_one_of_floats():
    assert addition_of(_addition(2.5, 0.7)) is None


def test_bounds_are_integers_of_the_result():
    assert addition_of(_addition(0.3, 0.9)).least == -128
    assert addition_of(_addition(0.3, 0.9, after=(Step("Relu", (), (("step", 0),)),))).least == 3
    clip = Step("Clip", (("max", 6.0), ("min", -2.0)), (("step", 0),))
    found = addition_of(_addition(0.3, 0.9, after=(clip,)))
    assert (found.least, found.most) == (1, 9)


@pytest.mark.parametrize(
    "operators, reads, size, kind",
    [
        (("Sigmoid", "QuantizeLinear"), 0, 64, TABLE),
        (("Sigmoid", "QuantizeLinear"), 0, 4, FLOATS),
        (("QuantizeLinear",), 0, 64, FLOATS),
        (("Add", "QuantizeLinear"), 1, 64, ADDITION),
        (("Mul", "QuantizeLinear"), 1, 64, FLOATS),
    ],
)
def test_a_chain_is_computed_by_what_takes_the_fewest_cycles(operators, reads, size, kind):
    shape = (1, 16, size, 1)
    workload = Workload("elementwise", shape, shape, (0, 2, 3, 1), dtype=INT8)
    assert kind_of(parse_target("cortex-a76"), workload, Tail(operators=operators, reads=reads)) == kind


_IMAGE, _POOLED = (1, 24, 14, 14), (1, 24, 7, 7)
_WINDOW = {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1)}
# Family, kind, operators, further tensors that are read: instructions for each value, as the emulator counted them.
_COUNTED = {
    ("elementwise", "", ("Add", "QuantizeLinear"), 1): 1.67,
    ("elementwise", "", ("Sigmoid", "QuantizeLinear"), 0): 1.34,
    ("elementwise", "", ("QuantizeLinear",), 0): 1.56,
    ("elementwise", "", ("DequantizeLinear",), 0): 1.29,
    ("pool", "average", ("QuantizeLinear",), 0): 0.95,
    ("pool", "max", (), 0): 0.33,
    ("reduce", "mean", ("QuantizeLinear",), 0): 0.30,
}


@pytest.mark.parametrize("case", _COUNTED)
def test_instructions_are_those_that_the_emulator_counted(case):
    family, kind, operators, reads = case
    out = {"elementwise": _IMAGE, "pool": _POOLED, "reduce": (1, 24, 1, 1)}[family]
    window = _WINDOW if family == "pool" else {}
    workload = Workload(family, _IMAGE, out, (0, 2, 3, 1), **window, dtype=INT8, kind=kind)
    kernel = Kernel("kernel", family, 0, 0, 0, 0, workload, Tail(operators=operators, reads=reads))
    found = KernelCounts()(kernel, parse_target("cortex-a76")).total - CALL.total
    assert found / np.prod(_IMAGE) == pytest.approx(_COUNTED[case], rel=0.07)
