"""Rounding is part of the kernel before it, and what stands for floats is read where it lies."""

from __future__ import annotations

from pfir.backends.tvm.lowering.fuse import groups
from tests.test_backends.bundle import sized, under_construction
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

Q, DQ = "QuantizeLinear", "DequantizeLinear"


def _groups(build) -> list[list[str]]:
    """The operators of each group, those of constants and of inputs left out."""
    net = under_construction()
    q = QuantizedNet(net)
    net.output("y", build(q, q.pair(net.input(1, 4, 5, 5))))
    model = sized(net)
    nodes = [node for node in model.nodes() if node.op != DQ or node.inputs[0].inputs]
    kept = {tensor.name for tensor in model.graph.outputs}
    return [[node.op for node in group.nodes] for group in groups(nodes, kept, {"Conv", "MaxPool"})][2:]


def _conv(q: QuantizedNet, x: str) -> str:
    return q.conv(x, 4, 4)


def test_integers_end_a_kernel_and_floats_begin_none():
    def build(q: QuantizedNet, x: str) -> str:
        return _conv(q, q.pair(q.net.op("Relu", _conv(q, x))))

    assert _groups(build) == [["Conv", "Relu", Q], [DQ], ["Conv", "Identity"]]


def test_rounding_within_a_residual_sum_is_part_of_its_kernel():
    def build(q: QuantizedNet, x: str) -> str:
        total = q.net.op("Relu", q.net.op("Add", q.pair(_conv(q, x)), x))
        return _conv(q, q.pair(total))

    assert _groups(build) == [["Conv", Q, DQ, "Add", "Relu", Q], [DQ], ["Conv", "Identity"]]


def test_integers_that_two_nodes_read_end_a_kernel():
    def build(q: QuantizedNet, x: str) -> str:
        x = q.integers(_conv(q, x))
        return q.net.op("Add", _conv(q, q.floats(x)), _conv(q, q.floats(x)))

    assert _groups(build)[:3] == [["Conv", Q], [DQ], [DQ]]


def test_a_kernel_at_the_end_of_the_model_gives_floats():
    def build(q: QuantizedNet, x: str) -> str:
        return q.pair(_conv(q, x))

    assert _groups(build) == [["Conv", Q, DQ, "Identity"]]


def test_rounding_behind_a_pool_is_part_of_it():
    def build(q: QuantizedNet, x: str) -> str:
        return _conv(q, q.pair(q.net.op("MaxPool", x, kernel_shape=[2, 2])))

    assert _groups(build)[0] == ["MaxPool", Q]
