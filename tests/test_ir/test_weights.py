"""The numbers of weights behind nodes that turn, convert or dequantize them, and what integers stand for."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

from pfir.ir.weights import every_constant, meant, numbers
from tests.support.net import Net, feeds
from tests.support.runs import run
from tests.support.structures import build

RNG = np.random.default_rng(0)
INTS = RNG.integers(-90, 90, (5, 3)).astype(np.int8)


def _dequantized(net, scale, zero, **attributes):
    inputs = net.const(INTS), net.const(scale, np.float32), net.const(zero, np.int8)
    return net.op("DequantizeLinear", *inputs, **attributes)


BEHIND = {
    "a transpose": lambda net: net.op("Transpose", net.w(3, 5)),
    "a constant node": lambda net: net.op(
        "Identity", net.op("Constant", value=numpy_helper.from_array(RNG.random((5, 3)).astype(np.float32)))
    ),
    "half precision": lambda net: net.op("Cast", net.const(RNG.random((5, 3)), np.float16), to=TensorProto.FLOAT),
    "one scale": lambda net: _dequantized(net, 0.1, 3),
    "a scale for each column": lambda net: _dequantized(net, [0.1, 0.2, 0.3], [3, 0, -3], axis=1),
    "a scale for each row": lambda net: _dequantized(net, [0.1, 0.2, 0.3, 0.4, 0.5], [0] * 5, axis=0),
}


@pytest.mark.parametrize("case", BEHIND)
def test_numbers_are_what_a_run_makes_of_them(case):
    net = Net(0)
    model = net.model((net.op("MatMul", net.input(5, 5), BEHIND[case](net)),))
    found = numbers(list(model.nodes())[-1].inputs[1])
    assert found.shape == (5, 3) and found.dtype == np.float32
    np.testing.assert_allclose(run(model, {"in0": np.eye(5, dtype=np.float32)})[0], found, rtol=1e-6)


def test_what_depends_on_inputs_or_is_computed_otherwise_has_no_numbers():
    net = Net(0)
    x = net.input(5, 3)
    model = net.model((net.op("MatMul", x, net.op("Identity", net.op("Relu", net.w(3, 5)))),))
    node = list(model.nodes())[-1]
    assert numbers(node.inputs[0]) is None and numbers(node.inputs[1]) is None and numbers(None) is None


def test_scales_block_by_block_are_not_followed():
    net = Net(0, opset=21)
    w = _dequantized(net, np.full((5, 1), 0.1), np.zeros((5, 1)), axis=1, block_size=3)
    model = net.model((net.op("MatMul", net.input(5, 5), w),))
    assert numbers(list(model.nodes())[-1].inputs[1]) is None
    assert meant(model.initializers()["c0"]) is None


def test_integers_that_their_readers_take_for_different_numbers_stand_for_none():
    net = Net(0)
    ints, scale = net.const(INTS), net.const(0.5, np.float32)
    a, b = (net.op("DequantizeLinear", ints, scale, net.const(z, np.int8)) for z in (1, 2))
    model = net.model((net.op("MatMul", net.input(2, 5), net.op("Add", a, b)),))
    assert meant(model.initializers()["c0"]) is None
    np.testing.assert_array_equal(meant(model.initializers()["c1"]), np.float32(0.5))


def test_constants_of_bodies_are_among_all():
    model = build("loop_states", 1)
    names = set(every_constant(model)) - set(model.initializers())
    assert names and run(model, feeds(model))
