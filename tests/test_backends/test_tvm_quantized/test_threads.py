"""Kernels of integers on several threads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.integers.routing import convolved
from pfir.target import parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends import devices
from tests.test_backends.bundle import bundled, feeds
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

Case = Callable[[Net], str]


def _alone(q: QuantizedNet, x: str, scale: float, point: int) -> str:
    return q.pair(q.net.op("MaxPool", q.pair(x, scale, point), kernel_shape=[1, 1]), scale, point)


def _layers(net: Net, size: int = 20) -> str:
    """Convolutions of each kind, a sum, a function by its table, and a mean before a dense layer."""
    q = QuantizedNet(net)
    x = q.features(16, size, size + 8)
    y = q.pair(q.conv(x, 16, 16, group=16), 0.03, 4)
    y = q.pair(q.conv(y, 16, 16, 1), 0.04, -3)
    x = _alone(q, net.op("Add", x, y), 0.06, 5)
    x = _alone(q, net.op("HardSwish", x), 0.05, -60)
    x = q.pair(q.conv(x, 16, 24, 3, group=8, strides=[2, 2]), 0.05, 2)
    x = q.pair(net.op("GlobalAveragePool", x), 0.02, 1)
    return net.op("Gemm", net.op("Flatten", x), q.weight(24, 10, axis=1), q.bias(10))


def _transposed(net: Net) -> str:
    q = QuantizedNet(net)
    return q.pair(net.op("ConvTranspose", q.features(), q.weight(12, 6, 4, 4, axis=1), strides=[2, 2], pads=[1] * 4))


def _product(net: Net) -> str:
    q = QuantizedNet(net)
    return net.op("MatMul", q.pair(net.input(2, 15, 24), 0.03, -6), q.weight(24, 40, axis=1))


CASES: dict[str, Case] = {"layers": _layers, "transposed": _transposed, "product": _product}


def test_two_threads_give_the_same_bits():
    model, found = bundled(CASES), []
    for threads in (1, 2):
        artifact = TvmBackend().build(model, parse_target(f"host,threads={threads}"))
        found.append(devices.host(threads).run(artifact, feeds(model.inputs())))
    for name, result in found[0].items():
        np.testing.assert_array_equal(found[1][name], result)


def test_the_lines_of_every_sum_are_shared():
    for (spec, tile), _ in written(bundled(CASES), parse_target("arm:cortex-a76,threads=2")).calls.items():
        if spec.family == "conv_int8" and spec.out.size > spec.out.shape[1]:
            assert tile.threads == 2 and spec.out.shape[2] >= 2


@pytest.mark.parametrize("positions, threads, lines", [(196, 1, 1), (196, 2, 2), (49, 2, 7), (196, 4, 4), (1, 4, 1)])
def test_positions_are_shared_evenly_where_that_can_be(positions, threads, lines):
    work = Workload("product", (positions, 24), (positions, 40), (0, 1), dtype="int8")
    found = convolved(parse_target(f"arm:cortex-a76,threads={threads}"), work)
    assert found.data[2:] == found.out[2:] == (lines, positions // lines)


def test_two_threads_are_estimated_to_take_less():
    model, seconds = bundled({"layers": lambda net: _layers(net, 96)}), []
    for threads in (1, 2):
        target = parse_target(f"arm:cortex-a76,threads={threads}")
        backend = TvmBackend()
        seconds.append(backend.estimator(target).estimate(backend.kernels(model, target)).seconds)
    assert 0.5 * seconds[0] < seconds[1] < seconds[0]
