"""What layers are to give: their own output or the sum that it goes into."""

import math

from onnx import helper

from pfir.passes.quantization.rounding.goals import Goal, goal_of
from tests.support.calibration import samples
from tests.support.net import model_of
from tests.support.quantizing import quantized
from tests.support.small_nets import residual, weights


def goals(net, name, open_layers=()):
    model = quantized(net, samples(net))
    return goal_of(next(n for n in model.nodes() if n.name == name), net, open_layers)


def test_a_layer_is_to_give_what_the_float_one_gives_behind_its_relu():
    assert goals(residual(), "inner") == Goal("a1", None, (0.0, math.inf))


def test_the_last_layer_of_a_residual_block_is_to_give_the_sum():
    assert goals(residual(), "outer") == Goal("s", "r0_dq", (0.0, math.inf))


def test_while_a_layer_of_the_shortcut_is_open_the_sum_is_nobodys_goal():
    assert goals(residual(), "outer", ("stem",)) == Goal("a2", None, (-math.inf, math.inf))


def test_a_clip_bounds_what_gets_through():
    arrays = weights(w1=(4, 3, 1, 1), low=(), high=())
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], "first"),
        helper.make_node("Clip", ["a", "", "high"], ["y"], "clip"),
    ]
    del arrays["low"]
    net = model_of(nodes, arrays, {"x": ["N", 3, 4, 4]}, {"y": None})
    assert goals(net, "first") == Goal("a", None, (-math.inf, float(arrays["high"])))
