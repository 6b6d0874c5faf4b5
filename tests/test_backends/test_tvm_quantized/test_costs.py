"""What kernels of eight bits cost."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.counts.kernel import KernelCounts
from pfir.backends.tvm.lowering.sketch import sketch
from pfir.ir.costs.model_cost import kernels
from pfir.target import parse_target
from tests.support.net import Net


def _quantized():
    """A convolution and a pool of eight bits."""
    net = Net(0)
    meaning = net.const(np.float32(0.1)), net.const(np.int8(3))
    integers = net.const(net.rng.integers(-63, 64, (8, 4, 3, 3)), np.int8)
    weight = net.op("DequantizeLinear", integers, net.const(np.float32(0.01)), net.const(np.int8(0)))

    def pair(x):
        return net.op("DequantizeLinear", net.op("QuantizeLinear", x, *meaning), *meaning)

    x = net.op("Relu", net.op("Conv", pair(net.input(1, 4, 6, 6)), weight, pads=[1] * 4))
    return net.model((pair(net.op("MaxPool", pair(x), kernel_shape=[2, 2], strides=[2, 2])),))


def test_integers_count_as_the_bytes_that_they_are():
    model = _quantized()
    convolution, pool = kernels(model, sketch(model, parse_target("arm")))[1:3]
    assert (convolution.read_bytes, convolution.written_bytes, convolution.weight_bytes) == (
        144 + 292,
        288,
        292,
    )  # with a scale
    assert (pool.read_bytes, pool.written_bytes) == (288, 72)
    assert convolution.workload.dtype == pool.workload.dtype == "int8"


def test_weights_of_integers_are_no_kernel_where_nothing_is_known_of_kernels():
    found = kernels(_quantized())
    assert [kernel.workload.family for kernel in found] == ["elementwise", "conv", "pool", "elementwise"]
    assert found[1].weight_bytes == 288 + 4


@pytest.mark.parametrize(("target", "dots"), [("cortex-a76", True), ("arm", False)])
def test_estimates_count_dot_products_where_the_core_has_them(target, dots):
    model, where, count = _quantized(), parse_target(target), KernelCounts()
    found = [count(kernel, where) for kernel in kernels(model, sketch(model, where))]
    assert any(instructions.dot for instructions in found) == dots


@pytest.mark.parametrize("target", ["cortex-a76", "arm", "x86-64:x86-64-v3"])
def test_an_estimate_takes_models_of_eight_bits(target):
    backend, where = TvmBackend(), parse_target(target)
    with backend.estimator(where) as device:
        assert 0 < device.estimate(backend.kernels(_quantized(), where)).seconds < 1e-3
