"""The zero point of integers is found on all ways to the nodes that quantized them, however many there are."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pfir.ir.coupling.zero_points import made_with, zero_stays_zero
from tests.support.net import Net
from tests.support.structures import build

DOUBLINGS = 300


def _joined(points):
    """Parts quantized with these zero points, turned and joined, and a product that takes 5 for zero."""
    net = Net(0)
    scale, x = net.const(0.1, np.float32), net.input(2, 6)
    parts = [net.op("QuantizeLinear", x, *((scale,) if p is None else (scale, net.const(p, np.uint8)))) for p in points]
    joined = net.op("Transpose", net.op("Transpose", net.op("Concat", *parts, axis=1)))
    weights = net.const(np.ones((6 * len(points), 2)), np.uint8)
    y = net.op("MatMulInteger", joined, weights, net.const(5, np.uint8))
    nodes = {n.op: n for n in net.model((net.op("Cast", y, to=1),)).nodes()}
    return nodes["MatMulInteger"]


@pytest.mark.parametrize(("points", "wanted"), [((5, 5), 5), ((5, 6), None), ((None, None), 0)])
def test_zero_points_of_joined_parts_agree_or_are_unknown(points, wanted):
    node = _joined(points)
    assert made_with(node.inputs[0]) == wanted
    assert zero_stays_zero(node, 0) == (wanted == 5)


def test_floats_and_graph_inputs_have_no_zero_point():
    model = build("quantized_residual", 1)
    tensors = model.graph.tensors()
    assert made_with(tensors["in0"]) is None and made_with(tensors["relu2"]) is None
    assert isinstance(made_with(tensors["flatten10"]), int) and made_with(tensors["qgemm11"]) is None


def test_a_tensor_that_many_ways_lead_to_is_visited_once():
    net = Net(0)
    x = net.op("QuantizeLinear", net.input(2, 6), net.const(0.1, np.float32))
    for _ in range(DOUBLINGS):
        x = net.op("Slice", net.op("Concat", x, x, axis=1), net.ints(0), net.ints(6), net.ints(1))
    tensors = net.model((net.op("Cast", x, to=1),)).graph.tensors()
    start = time.process_time()
    assert made_with(tensors[x]) == 0 and time.process_time() - start < 1
