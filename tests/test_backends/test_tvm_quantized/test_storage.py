"""Integers of the other sign stand for the same numbers, and stay where something else knows them."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.lowering.quantized.nodes import EIGHT_BITS, quantization_of, type_of
from pfir.backends.tvm.lowering.quantized.storage import store_as
from pfir.ir.model import Model
from tests.support.net import Net
from tests.support.runs import run
from tests.test_backends.bundle import feeds, sized, under_construction
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet


def _moved(q: QuantizedNet) -> str:
    """Two tensors that moves join."""
    left, right = (q.integers(q.net.input(1, 4, 6, 6), 0.03, point) for point in (5, 7))
    x = q.net.op("Concat", left, right, axis=1)
    parts = q.net.op("Split", q.net.op("MaxPool", x, kernel_shape=[2, 2]), q.net.ints(3, 5), outs=2, axis=1)
    return q.net.op("Add", q.floats(q.net.op("Reshape", parts[0], q.net.ints(1, -1, 1, 1)), 0.03, 5), _last(q, parts))


def _last(q: QuantizedNet, parts: list[str]) -> str:
    return q.net.op("ReduceMax", q.floats(parts[1], 0.03, 7), axes=[1, 2, 3])


def _model(build, dtype: type) -> Model:
    net = under_construction()
    net.output("y", build(QuantizedNet(net, dtype)))
    return sized(net)


def _types(model: Model) -> set[str]:
    return {type_of(t) for node in model.nodes() for t in node.outputs} & set(EIGHT_BITS)


@pytest.mark.parametrize(("given", "stored"), [(np.int8, "uint8"), (np.uint8, "int8"), (np.int8, "int8")])
def test_the_results_stay_and_all_integers_are_of_the_type(given, stored):
    model = _model(_moved, given)
    other = model.clone()
    store_as(other.graph, stored)
    assert _types(other) == {stored}
    values = feeds(model.inputs())
    np.testing.assert_array_equal(run(other, values)[0], run(model, values)[0])


def test_zero_points_move_with_the_integers():
    model = _model(_moved, np.int8)
    before = [quantization_of(node) for node in model.nodes() if quantization_of(node)]
    store_as(model.graph, "uint8")
    after = [quantization_of(node) for node in model.nodes() if quantization_of(node)]
    assert [q.zero_point - p.zero_point for p, q in zip(before, after, strict=True)] == [128] * len(before)
    assert [q.scale for q in after] == [p.scale for p in before]


def test_a_zero_point_that_was_left_out_is_the_least_integer():
    def build(q: QuantizedNet) -> str:
        scale = q.net.const(np.float32(0.1))
        return q.net.op("DequantizeLinear", q.net.op("QuantizeLinear", q.net.input(3, 4), scale), scale)

    model = _model(build, np.uint8)
    store_as(model.graph, "int8")
    assert [quantization_of(node).zero_point for node in model.nodes() if quantization_of(node)] == [-128, -128]


def _with_a_constant(q: QuantizedNet) -> str:
    x = q.integers(q.net.input(1, 4, 3, 3))
    constant = q.net.const(np.full((1, 2, 3, 3), 7), q.dtype)
    return q.floats(q.net.op("Concat", x, constant, axis=1))


def _of_an_input(q: QuantizedNet) -> str:
    return q.floats(q.net.op("Reshape", q.net.input(2, 6, dtype=q.dtype), q.net.ints(3, 4)))


def _read_by_others(q: QuantizedNet) -> str:
    net: Net = q.net
    return net.op("Add", q.floats(x := q.integers(net.input(2, 6))), net.op("Cast", x, to=1))


@pytest.mark.parametrize("build", [_with_a_constant, _of_an_input, _read_by_others], ids=lambda build: build.__name__)
def test_integers_that_something_else_knows_stay(build):
    model = _model(build, np.uint8)
    store_as(model.graph, "int8")
    assert _types(model) <= {"uint8"}
