"""Pairs around activations: which share a scale, and what cannot be trained through."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import UsageError
from pfir.passes.quantization.qdq.activation_pairs import activation_pairs, scale_arrays
from pfir.run.session import Session
from tests.support.calibration import samples
from tests.support.net import model_of, normal
from tests.support.quantizing import quantized
from tests.support.small_nets import residual

HELD = {"s": np.float32(0.1), "z": np.int8(3), "other": np.float32(0.2)}
SHAPES = {"x": ["N", 3, 4, 4]}, {"y": ["N", 3, None, None]}


def pair(given, result, scale="s"):
    return [
        helper.make_node("QuantizeLinear", [given, scale, "z"], [f"{result}_q"], f"q_{result}"),
        helper.make_node("DequantizeLinear", [f"{result}_q", scale, "z"], [result], f"d_{result}"),
    ]


def pooled(scale):
    pool = helper.make_node("MaxPool", ["a"], ["p"], "pool", kernel_shape=[2, 2])
    return model_of([*pair("x", "a"), pool, *pair("p", "y", scale)], HELD, *SHAPES)


def test_every_pair_is_found_with_what_it_says():
    net = residual()
    found = activation_pairs(quantized(net, samples(net)))
    assert [p.data.name for p in found] == ["x", "r0", "r1", "a2", "r2", "g", "f", "y_float"]
    assert all((p.least, p.most) == (-128, 127) and p.scale > 0 for p in found)


def test_numbers_that_only_move_keep_their_scale():
    first, second = activation_pairs(pooled("s"))
    assert (first.group, second.group) == ("q_a", "q_a")


def test_another_scale_behind_a_move_is_one_of_its_own():
    assert [p.group for p in activation_pairs(pooled("other"))] == ["q_a", "q_y"]


def test_scales_are_set_on_both_sides_and_in_the_whole_group():
    model = pooled("s")
    model.set_arrays(scale_arrays(activation_pairs(model), {"q_a": 0.5}))
    x = {"x": np.full((1, 3, 4, 4), 0.6, np.float32)}
    assert np.unique(Session(model).predict(x)["y"]) == pytest.approx([0.5])


def test_integers_that_something_else_reads_are_refused():
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
        helper.make_node("Cast", ["q"], ["y"], "cast", to=1),
    ]
    with pytest.raises(UsageError, match="node quantize: only a QuantizeLinear with one constant scale"):
        activation_pairs(model_of(nodes, HELD, *SHAPES))


def test_scales_per_channel_are_refused():
    held = {"s": np.abs(normal(3)), "z": np.zeros(3, np.int8)}
    with pytest.raises(UsageError, match="node q_y"):
        activation_pairs(model_of(pair("x", "y"), held, *SHAPES))
