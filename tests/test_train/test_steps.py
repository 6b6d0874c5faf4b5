"""Steps of a training graph whose values and feeds are given from outside."""

import numpy as np
import pytest
from onnx import helper

from pfir.errors import TrainingError
from pfir.ir.training import TrainingGraph
from pfir.train.steps import Steps
from tests.support.net import model_of, normal


def squares(op="Identity"):
    """The mean of (op(x w))^2."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "product"),
        helper.make_node(op, ["a"], ["b"], "op"),
        helper.make_node("Mul", ["b", "b"], ["c"], "square"),
        helper.make_node("ReduceMean", ["c"], ["loss"], "mean", keepdims=0),
    ]
    model = model_of(nodes, {"w": normal(3, 2)}, {"x": ["N", 3]}, {"loss": []})
    return TrainingGraph(model, "loss", ("w",))


def test_loss_and_gradient_are_those_of_the_values_given():
    x, w = normal(8, 3), normal(3, 2, seed=1)
    steps = Steps(squares(), {"x": x})
    for values in (w, 2 * w):
        loss, gradients = steps({"w": values}, {"x": x})
        assert loss == pytest.approx(np.square(x @ values).mean(), rel=1e-5)
        np.testing.assert_allclose(gradients["w"], 2 * x.T @ (x @ values) / 16, rtol=1e-4, atol=1e-6)


def test_values_stay_until_others_are_given():
    x, w = normal(8, 3), normal(3, 2, seed=1)
    steps = Steps(squares(), {"x": x})
    first, _ = steps({"w": w}, {"x": x})
    assert steps({}, {"x": x})[0] == first


def test_rounding_hands_its_gradient_straight_through():
    x, w = normal(8, 3), 3 * normal(3, 2, seed=1)
    loss, gradients = Steps(squares("Round"), {"x": x})({"w": w}, {"x": x})
    assert loss == pytest.approx(np.square(np.rint(x @ w)).mean(), rel=1e-5)
    np.testing.assert_allclose(gradients["w"], 2 * x.T @ np.rint(x @ w) / 16, rtol=1e-4, atol=1e-6)


def test_an_operator_without_gradient_is_named():
    with pytest.raises(TrainingError, match=r"node op \(Floor\) cannot be trained"):
        Steps(squares("Floor"), {"x": normal(8, 3)})
