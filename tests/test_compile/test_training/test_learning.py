"""What passes get to learn with: labels, gradients that agree with those of the other criteria, a few steps."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.compile.training.gradients import LossGradients
from pfir.compile.training.learning import Learning
from pfir.errors import UsageError
from pfir.passes.base import Context
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.pruning.attach_heads import attach_heads
from tests.support.calibration import outputs, samples
from tests.support.samples import Samples
from tests.support.small_nets import after_conv, residual, two_convolutions


def _learning(model, labels=None, count=64, seed=0):
    return Learning(model, Samples(samples(model, count), labels), seed)


def test_labels_are_those_of_the_data():
    labels = np.arange(64, dtype=np.int32) % 4
    found = _learning(residual(), labels).labels()
    np.testing.assert_array_equal(found, labels)
    assert found.dtype == np.int64


def test_without_labels_they_are_the_originals_answers():
    model = residual()
    np.testing.assert_array_equal(_learning(model, count=45).labels(), outputs(model, samples(model, 45)).argmax(1))


@pytest.mark.parametrize("labels", [None, np.arange(64) % 4])
def test_gradients_of_the_models_own_loss_are_those_that_other_criteria_use(labels):
    model, names = residual(), ["w0", "w2", "b3"]
    _, found = _learning(model, labels).differentiate(attach_heads(model, (), own=True))({})
    expected = LossGradients(model, Samples(samples(model, 64), labels), 64)(model, names)
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-6)


def test_a_call_leaves_the_values_of_the_next_one_alone():
    model = residual()
    slopes = _learning(model).differentiate(attach_heads(model, (), own=True))
    w = model.initializers()["w2"].values
    before, _ = slopes({"w2": w})
    other, _ = slopes({"w2": w * 0})
    assert other != before and slopes({"w2": w})[0] == before


def test_training_lowers_the_loss_the_same_way_each_time():
    model, labels = residual(), np.arange(64) % 4
    graph = attach_heads(model, (), own=True)
    one, two = (_learning(model, labels, seed=3).train(graph) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    slopes = _learning(model, labels).differentiate(graph)
    start = slopes({})[0]
    assert slopes({n: one[n] for n in one})[0] < 0.8 * start


def test_passes_get_a_trainer_only_where_one_is_meant():
    asked = [_learning(residual()).given_to(Context(seed=5), train) for train in (False, True)]
    assert asked[0].train is None and asked[1].train is not None
    assert all(a.labels and a.differentiate and a.seed == 5 for a in asked)


@pytest.mark.parametrize("call", ["differentiate", "train"])
def test_a_model_that_cannot_be_differentiated_is_refused_with_the_node(call):
    model = after_conv("Floor")
    graph = attach_teacher(model, model)
    with pytest.raises(UsageError, match=r"node op \(Floor\) cannot be trained.*choose another criterion"):
        getattr(_learning(model), call)(graph)


def test_outputs_that_are_no_classes_can_be_followed_too():
    model = two_convolutions()
    loss, _ = _learning(model).differentiate(attach_teacher(model, model))({})
    assert loss == pytest.approx(0, abs=1e-6)
