"""Auxiliary heads: they only read, and the joint loss is what its parts say, with the gradients that it has."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.compile.training.learning import Learning
from pfir.errors import UsageError
from pfir.ir.shapes import infer_shapes
from pfir.passes.pruning.attach_heads import Head, attach_heads
from pfir.run.activations import activations
from tests.support.calibration import outputs, samples
from tests.support.samples import Samples
from tests.support.small_nets import residual, two_convolutions

LABELS = np.arange(64) % 4  # Two whole batches.


def _student():
    model = residual()
    infer_shapes(model)
    return model


def _head(point="s", seed=0):
    rng = np.random.default_rng(seed)
    return Head(point, rng.normal(0, 1, 8), rng.uniform(0.5, 2, 8), rng.normal(0, 1, (8, 4)), rng.normal(0, 1, 4))


def _open(graph, model):
    return Learning(model, Samples(samples(model, 64), LABELS)).differentiate(graph)


def _tensor(model, name):
    return np.concatenate([b[name] for b in activations(model, [name], Samples(samples(model, 64)))])


def _cross_entropy(scores):
    scores = scores - scores.max(1, keepdims=True)
    return float((np.log(np.exp(scores).sum(1)) - scores[np.arange(len(scores)), LABELS]).mean())


def _scores_of(head, x):
    shape = (1, -1, 1, 1)
    active = np.maximum((x - head.mean.reshape(shape)) / head.deviation.reshape(shape), 0)
    return active.mean((2, 3)) @ head.weight + head.bias


def test_heads_change_no_output_of_the_student():
    model = _student()
    before = model.to_bytes()
    graph = attach_heads(model, (_head("r0"), _head("s")), own=True)
    assert model.to_bytes() == before
    inner = graph.model
    assert len({id(t) for n in inner.graph.nodes for t in (*n.inputs, *n.outputs)}) == len(inner.graph.tensors())
    inner.graph.inputs = [t for t in inner.graph.inputs if t.name != graph.labels]
    inner.graph.outputs = [inner.graph.tensors()["y"]]
    inner.graph.cleanup()
    np.testing.assert_array_equal(outputs(inner, samples(model)), outputs(model, samples(model)))


def test_the_loss_is_the_sum_of_what_each_head_and_the_model_itself_lose():
    model, heads = _student(), (_head("r0", 1), _head("s", 2))
    expected = [_cross_entropy(_scores_of(h, _tensor(model, h.point))) for h in heads]
    loss, _ = _open(attach_heads(model, heads, own=True), model)({})
    assert loss == pytest.approx(sum(expected) + _cross_entropy(outputs(model, samples(model, 64))), rel=1e-4)


def test_what_is_matched_counts_relative_to_its_variance():
    teacher, student = _student(), _student()
    student.set_arrays({"w1": student.initializers()["w1"].values * np.float32(0.8)})
    loss, _ = _open(attach_heads(student, (), False, teacher, ("a1", "a2")), teacher)({})
    expected = 0.0
    for name in ("a1", "a2"):
        theirs = _tensor(teacher, name)
        expected += float(np.mean((_tensor(student, name) - theirs) ** 2) / theirs.var(0).mean())
    assert loss == pytest.approx(expected, rel=1e-3)
    assert _open(attach_heads(teacher, (), False, teacher, ("a2",)), teacher)({})[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["w1", "w2", "b2"])
def test_gradients_of_the_joint_loss_are_finite_differences(name):
    teacher, student = _student(), _student()
    student.set_arrays({"w2": student.initializers()["w2"].values * np.float32(0.7)})
    slopes = _open(attach_heads(student, (_head(),), False, teacher, ("a2",)), teacher)
    values = student.initializers()[name].values
    _, gradients = slopes({name: values})
    rng = np.random.default_rng(3)
    for _ in range(3):
        step = (rng.normal(0, 1, values.shape) * 1e-2 / np.sqrt(values.size)).astype(np.float32)
        rise = slopes({name: values + step})[0] - slopes({name: values - step})[0]
        assert rise == pytest.approx(2 * float((gradients[name] * step).sum()), rel=0.03, abs=2e-6)


def test_what_comes_after_the_last_term_is_not_computed():
    graph = attach_heads(_student(), (_head("r0"),), own=False)
    model = graph.model.clone()
    model.graph.cleanup()
    assert not {"inner", "outer", "head"} & {n.name for n in model.graph.nodes}


def test_a_model_without_class_scores_has_no_own_classification():
    with pytest.raises(UsageError, match=r"the outputs y are not class scores \[N, K\]"):
        attach_heads(two_convolutions(), (), own=True)
