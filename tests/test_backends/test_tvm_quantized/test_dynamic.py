"""Layers whose data is quantized in the range of the run sum integers, and give what ONNX Runtime gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfir.backends.tvm.counts.integers.ranges import SMALL_CALLS
from pfir.backends.tvm.counts.kernel import CALL, KernelCounts
from pfir.backends.tvm.lowering.lower import started, written
from pfir.backends.tvm.lowering.sketch import sketch
from pfir.ir.costs.model_cost import kernels
from pfir.ir.whole import sized_everywhere
from pfir.target import parse_target
from tests.support.net import Net
from tests.support.structures.quantized import MICROSOFT
from tests.test_backends.bundle import answers, answers_emulated, answers_of_cases, bundled, sized, under_construction

Case = Callable[[Net], str]
_CLOSE = 1e-4  # of results around one: sums are the same, and floats are rounded elsewhere


def _weight(net: Net, *shape: int, dtype: type = np.int8) -> str:
    least, most = (-63, 64) if dtype == np.int8 else (0, 128)
    return net.const(net.rng.integers(least, most, shape), dtype)


def _scaled(net: Net, sums: str, step: str, scale: np.ndarray | float) -> str:
    """Sums as ONNX Runtime's quantize_dynamic makes floats of them."""
    scales = net.op("Mul", step, net.const(np.float32(scale)))
    return net.op("Mul", net.op("Cast", sums, to=1), scales)


def _conv(net: Net, x: tuple[str, ...], channels: int, out: int, kernel: int = 3, point: int = 70, **attributes) -> str:
    integers, step, zero = x
    weight = _weight(net, out, channels // attributes.get("group", 1), kernel, kernel, dtype=np.uint8)
    attributes = {"pads": [kernel // 2] * 4, "kernel_shape": [kernel] * 2} | attributes
    sums = net.op("ConvInteger", integers, weight, zero, net.const(point, np.uint8), **attributes)
    return net.op("Add", _scaled(net, sums, step, 0.004), net.w(1, out, 1, 1))


def _quantized(net: Net, x: str) -> tuple[str, ...]:
    return net.op("DynamicQuantizeLinear", x, outs=3)


def _product(net: Net, x: str, inner: int, out: int, zeros: bool = True) -> str:
    """A product with a scale for each of its channels, as of a dense layer."""
    integers, step, zero = _quantized(net, x)
    given = (zero, net.const(np.zeros(out), np.int8)) if zeros else (zero,)
    sums = net.op("MatMulInteger", integers, _weight(net, inner, out), *given)
    return net.op("Add", _scaled(net, sums, step, np.linspace(0.002, 0.008, out)), net.w(out))


def _residual(net: Net) -> str:
    """Integers that two convolutions read, with borders and without."""
    x = net.relu(_conv(net, _quantized(net, net.input(1, 12, 7, 9)), 12, 16))
    given = _quantized(net, x)
    left, right = _conv(net, given, 16, 8, 3, strides=[1, 1]), _conv(net, given, 16, 8, 1)
    return net.relu(net.op("Add", left, right))


def _image(net: Net) -> str:
    return net.op("Tanh", _conv(net, _quantized(net, net.input(1, 3, 9, 9)), 3, 8, strides=[2, 2], point=61))


def _depthwise(net: Net) -> str:
    return _conv(net, _quantized(net, net.input(1, 16, 9, 9)), 16, 16, group=16, point=128)


def _grouped(net: Net) -> str:
    return _conv(net, _quantized(net, net.input(1, 16, 6, 6)), 16, 8, group=2, point=90)


def _same(net: Net) -> str:
    return _conv(net, _quantized(net, net.input(1, 8, 8, 8)), 8, 8, pads=None, auto_pad="SAME_UPPER", strides=[2, 2])


def _dense(net: Net) -> str:
    return _product(net, _product(net, net.input(5, 24), 24, 13), 13, 7, zeros=False)


def _sequence(net: Net) -> str:
    return _product(net, net.input(2, 5, 24), 24, 12)


def _zeros(net: Net) -> str:
    x = net.op("Mul", net.input(3, 16), net.const(np.float32(0)))
    return _product(net, x, 16, 8)


def _fused(net: Net) -> str:
    """As ONNX Runtime joins nodes: data rounded by the product itself, and before it."""
    points = net.const(np.zeros(13), np.int8)
    given = _weight(net, 16, 13), net.const(np.linspace(0.002, 0.008, 13), np.float32), points, net.w(13)
    x = net.op("DynamicQuantizeMatMul", net.input(5, 16), *given, **MICROSOFT)
    integers, step, zero = _quantized(net, x)
    given = _weight(net, 13, 7, dtype=np.uint8), step, net.const(np.float32([0.01])), zero, net.const(64, np.uint8)
    x = net.op("MatMulIntegerToFloat", integers, *given, net.w(7), **MICROSOFT)
    return net.op("DynamicQuantizeMatMul", x, _weight(net, 7, 4), net.const(np.float32([0.01])), **MICROSOFT)


CASES: dict[str, Case] = {
    "residual": _residual,
    "image": _image,
    "depthwise": _depthwise,
    "grouped": _grouped,
    "same": _same,
    "dense": _dense,
    "sequence": _sequence,
    "zeros": _zeros,
}


def test_results_are_those_of_onnx_runtime():
    for name, (ours, theirs) in answers_of_cases(CASES).items():
        assert np.abs(ours - theirs).max() < _CLOSE * max(1, np.abs(theirs).max()), name


def test_products_that_round_and_scale_themselves_are_the_same():
    net = under_construction()
    model = sized_everywhere(net.model((_fused(net),)))
    ours, theirs = answers(model)
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < _CLOSE * max(1, np.abs(result).max())
    program = written(model, parse_target("neoverse-n1"))
    assert not program.slow
    assert sum(count for (spec, _), count in program.calls.items() if spec.family == "conv_int8") == 3


def test_emulated_arm_gives_the_same():
    cases = {name: CASES[name] for name in ("residual", "image", "sequence")}
    (ours,), theirs = answers_emulated(bundled(cases), "cortex-a76")
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < _CLOSE * max(1, np.abs(result).max())


@pytest.mark.parametrize("target", ["neoverse-n1", "x86-64-v3"])
def test_layers_sum_integers_and_no_node_is_left_to_unscheduled_code(target):
    program = written(bundled(CASES), parse_target(target))
    assert not program.slow
    families = {spec.family for spec, _ in program.calls}
    assert "conv_int8" in families and not families & {"conv", "direct", "winograd", "product", "dots", "window"}


def test_every_node_has_a_kernel_that_is_counted():
    model, target = bundled(CASES), parse_target("cortex-a76")
    grouping = sketch(model, target)
    assert grouping.knows(model.nodes())
    found = [kernel for kernel in kernels(model, grouping) if kernel.workload.kind == "range"]
    assert len(found) == sum(node.op == "DynamicQuantizeLinear" for node in model.nodes())
    for kernel in found:
        values = np.prod(kernel.workload.data)
        calls = CALL.total * (3 + SMALL_CALLS)
        assert values < KernelCounts()(kernel, target).total - calls < 5 * values + 100


def test_what_is_known_not_to_be_negative_is_not_searched_for_its_least():
    def case(net: Net) -> str:
        return _product(net, net.relu(net.input(4, 16)), 16, 8)

    kinds = [dict(spec.attributes).get("kind") for spec, _ in written(bundled({"a": case}), parse_target("arm")).calls]
    assert "max" in kinds and "min" not in kinds


def _read_elsewhere(net: Net) -> str:
    integers, step, zero = _quantized(net, net.input(4, 16))
    sums = net.op("MatMulInteger", integers, _weight(net, 16, 8), zero)
    return net.op("Add", _scaled(net, sums, step, 0.01), net.op("Cast", zero, to=1))


def _computed_weight(net: Net) -> str:
    integers, step, zero = _quantized(net, net.input(4, 16))
    weight = net.op("Cast", net.input(16, 8), to=3)
    return _scaled(net, net.op("MatMulInteger", integers, weight, zero), step, 0.01)


def _whole_sums(net: Net) -> str:
    integers, _, zero = _quantized(net, net.input(4, 16))
    return net.op("Cast", net.op("Abs", net.op("MatMulInteger", integers, _weight(net, 16, 8), zero)), to=1)


@pytest.mark.parametrize("build", [_read_elsewhere, _computed_weight, _whole_sums])
def test_others_stay(build):
    net = under_construction()
    net.output("y", build(net))
    model, _ = started(sized(net), parse_target("arm"), None)
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= {node.op for node in model.graph.nodes}
