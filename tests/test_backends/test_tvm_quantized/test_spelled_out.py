"""Operators that hold scales and zero points themselves run by kernels of ours, and give what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import started, written
from pfir.backends.tvm.lowering.sketch import sketch
from pfir.ir.costs.model_cost import kernels
from pfir.ir.whole import sized_everywhere
from pfir.target import parse_target
from tests.support.net import Net
from tests.support.structures import quantized
from tests.support.structures.quantized import MICROSOFT, pair, scale
from tests.test_backends.bundle import answers

FAMILIES = (quantized.quantized_operators, quantized.quantized_residual)


def _model(build, seed: int = 0):
    net = Net(seed)
    return sized_everywhere(net.model(build(net)))


def _leaky_product(net: Net):
    """A product with itself between functions, pooled."""
    given, other, last = (pair(net) for _ in range(3))
    x = net.op("QuantizeLinear", net.input(1, 6, 8, 8), *given)
    y = net.op("QLinearSigmoid", x, *given, *other, **MICROSOFT)
    x = net.op("QLinearMul", x, *given, y, *other, *last, **MICROSOFT)
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    return (net.op("DequantizeLinear", net.op("QLinearAveragePool", x, *last, *last, **window, **MICROSOFT), *last),)


def _turned_gemm(net: Net):
    given, last = pair(net), pair(net)
    x = net.op("QuantizeLinear", net.input(4, 6), *given)
    integers, zeros = net.const(net.rng.integers(-63, 64, (5, 6)), np.int8), net.const(np.zeros(5), np.int8)
    weights = integers, scale(net, 0.002, 0.008, 5), zeros
    bias = net.const(net.rng.integers(-90, 90, 5), np.int32)
    y = net.op("QGemm", x, *given, *weights, bias, *last, transB=1, alpha=0.5, **MICROSOFT)
    return (net.op("DequantizeLinear", y, *last),)


def _softmax(net: Net):
    given, last = pair(net), pair(net)
    x = net.op("QuantizeLinear", net.input(4, 5, 6), *given)
    y = net.op("QLinearSoftmax", x, *given, *last, axis=1, opset=13, **MICROSOFT)
    return (net.op("DequantizeLinear", y, *last),)


@pytest.mark.parametrize("build", [*FAMILIES, _leaky_product, _turned_gemm, _softmax], ids=lambda build: build.__name__)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_results_are_those_of_onnx_runtime(build, seed):
    model = _model(build, seed)
    ours, theirs = answers(model)
    for name, result in theirs.items():
        assert np.abs(ours[name] - result).max() < 0.06


@pytest.mark.parametrize("build", FAMILIES, ids=lambda build: build.__name__)
def test_no_node_is_left_to_unscheduled_code_and_each_has_a_kernel(build):
    model, target = _model(build), parse_target("cortex-a76")
    assert not written(model, target).slow
    grouping = sketch(model, target)
    assert grouping.knows(model.nodes())
    assert any(kernel.workload.dtype == "int8" for kernel in kernels(model, grouping))


def test_what_is_no_constant_stays():
    def build(net: Net):
        given = pair(net)
        x = net.op("QuantizeLinear", net.input(4, 6), *given)
        step = net.op("Abs", net.input(1, dtype=np.float32))
        return (net.op("DequantizeLinear", net.op("QLinearSigmoid", x, *given, step, given[1], **MICROSOFT), *given),)

    model, _ = started(_model(build), parse_target("arm"), None)
    assert "QLinearSigmoid" in {node.op for node in model.graph.nodes}
