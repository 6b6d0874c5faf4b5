"""Segments: where networks are cut, and that the parts in turn are the whole."""

import numpy as np
from onnx import helper

from pfir.passes.quantization.rounding.flow import values
from pfir.passes.quantization.rounding.segments import between, segments
from pfir.run.session import Session
from tests.support.calibration import samples
from tests.support.net import model_of
from tests.support.quantizing import quantized
from tests.support.small_nets import residual, separable, two_convolutions, weights


def cut(net):
    return segments(quantized(net, samples(net)), net)


def test_a_residual_block_is_a_segment_and_what_is_around_it_others():
    assert [(s.inputs, s.outputs, s.layers) for s in cut(residual())] == [
        (("x",), ("r0",), 1),
        (("r0",), ("r2",), 2),
        (("r2",), ("y",), 1),
    ]


def test_layers_in_a_row_are_put_together_as_an_inverted_residual_block_would_be():
    assert [s.layers for s in cut(separable())] == [3]
    assert [s.layers for s in cut(two_convolutions())] == [2]


def test_every_node_is_in_one_segment():
    net = residual()
    assert [name for s in cut(net) for name in s.nodes] == [node.name for node in net.nodes()]


def test_the_segments_in_turn_are_the_model():
    net = residual()
    model = quantized(net, samples(net))
    feeds = samples(net, count=8)
    whole = Session(model).predict(feeds)
    for segment in segments(model, net):
        (feeds,) = values(model, segment, segment.outputs, feeds)
    np.testing.assert_allclose(feeds["y"], whole["y"], rtol=1e-5, atol=1e-5)


def test_a_part_between_two_tensors_leaves_the_model_as_it_is():
    net = residual()
    before = net.to_bytes()
    part = between(net, ["r0"], ["s"])
    assert [n.name for n in part.nodes()] == ["inner", "relu1", "outer", "add"]
    assert net.to_bytes() == before


def test_what_is_fed_is_handed_on():
    net = residual()
    feeds = samples(net, count=4)
    (found,) = values(net, cut(net)[0], ("x", "r0"), feeds)
    np.testing.assert_array_equal(found["x"], feeds["x"])
    assert found["r0"].shape == (4, 8, 8, 8)


def test_a_tensor_that_two_outputs_read_ends_one_segment():
    arrays = weights(w1=(4, 3, 1, 1), w2=(4, 4, 1, 1), w3=(2, 4, 1, 1))
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        helper.make_node("Conv", ["a", "w2"], ["b"], "second"),
        helper.make_node("Conv", ["a", "w3"], ["c"], "third"),
    ]
    net = model_of(nodes, arrays, {"x": ["N", 3, 4, 4]}, {"b": None, "c": None})
    assert [(s.inputs, s.outputs) for s in cut(net)] == [(("x",), ("a",)), (("a",), ("b", "c"))]
