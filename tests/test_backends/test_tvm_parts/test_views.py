"""Kernels read tensors in place of views of them: nothing is left of a view but where an output is one."""

from __future__ import annotations

import pytest

from pfir.backends.tvm.library.build import pipeline
from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers, error, sized, under_construction
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

_RESHAPE = "vm.builtin.reshape"


def _chain(net: Net) -> str:
    """1x1 convolutions over integers, which are products over rows, between depthwise ones, which read images."""
    q = QuantizedNet(net)
    x = q.features(8, 6, 5)
    for _ in range(2):
        x = q.pair(q.conv(x, 8, 8, group=8), 0.06)
        x = q.pair(q.conv(x, 8, 8, kernel=1), 0.06)
    return x


def _rows(net: Net) -> str:
    """A dense layer on what a pool leaves, flattened twice."""
    x = net.op("GlobalAveragePool", net.input(1, 8, 6, 5))
    x = net.op("Reshape", net.op("Flatten", x), net.const([1, 2, 4], "int64"))
    return net.op("Relu", net.op("MatMul", x, net.w(4, 7)))


def _flat(net: Net) -> str:
    """An output that is a view."""
    return net.op("Flatten", net.op("Relu", net.input(1, 8, 6, 5)))


def _views(build, target: str = "host") -> int:
    net = under_construction()
    net.output("y", build(net))
    program = written(sized(net), parse_target(target))
    return str(pipeline()(program.builder.get())["main"]).count(_RESHAPE)


@pytest.mark.parametrize("target", ["host", "cortex-a76"])
@pytest.mark.parametrize("build", [_chain, _rows])
def test_no_view_is_made_for_a_kernel(build, target):
    assert _views(build, target) == 0


def test_an_output_that_is_a_view_is_made():
    assert _views(_flat) == 1


@pytest.mark.parametrize("build", [_chain, _rows, _flat])
def test_kernels_compute_the_same_through_views(build):
    net = under_construction()
    net.output("y", build(net))
    ours, theirs = answers(sized(net))
    assert error(ours["y"], theirs["y"]) < (0.02 if build is _chain else 1e-5)
