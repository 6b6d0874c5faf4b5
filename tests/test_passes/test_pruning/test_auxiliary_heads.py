"""Places of heads, and classifiers fitted without training."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.shapes import infer_shapes
from pfir.passes.pruning.auxiliary_heads import fitted_heads, head_points, softmax_regression, stage_of
from tests.support.calibration import context
from tests.support.net import Net
from tests.support.small_nets import residual
from tests.support.structures import FAMILIES, build


def _chain(layers):
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6))
    for _ in range(layers - 2):
        x = net.relu(net.conv(x, 6, 6))
    return net.model((net.head(x, 6),))


def _points(model, count=3):
    infer_shapes(model)
    return head_points(model, channel_groups(model), count)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_a_point_nothing_that_comes_before_it_reaches_an_output(name):
    model = build(name, 0)
    for point in _points(model):
        cut = model.clone()
        made = cut.graph.tensors()[point].inputs[0]
        made.outputs.clear()
        reached, open_ = set(), list(cut.graph.outputs)
        while open_:
            for node in open_.pop().inputs:
                if node.name not in reached:
                    reached.add(node.name)
                    open_ += node.inputs
        assert not reached & {t.name for t in cut.graph.inputs} and made.name not in reached
        assert not any(t in cut.graph.inputs for n in cut.graph.nodes if n.name in reached for t in n.inputs)


def test_points_are_spread_over_the_layers():
    model = _chain(13)
    layers = [n.name for n in model.graph.nodes if n.op in ("Conv", "Gemm", "MatMul")]
    points, stages = _points(model), []
    for group in channel_groups(model).free():
        stages.append(stage_of(model, points, group))
    assert len(points) == 3 and len(layers) == 13
    assert stages == sorted(stages) and set(stages) == {0, 1, 2, 3}
    assert max(np.bincount(stages)) <= 4


def test_a_branch_beside_a_shortcut_is_no_place_for_a_head():
    assert set(_points(residual(), 5)) <= {"a0", "r0", "s", "r2"}


def test_softmax_regression_finds_the_minimum():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(3, 2, (60, 5)), rng.integers(0, 3, 60)
    weight, bias = softmax_regression(x, labels, 3)
    scores = x @ weight + bias
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    left = (x - x.mean(0)).T @ (shares - np.eye(3)[labels]) / 60
    assert np.abs(left + 1e-3 * x.std() ** 2 * weight).max() < 1e-3


def test_a_head_tells_classes_that_are_there():
    model = residual()
    infer_shapes(model)
    asked = context(model)
    means = np.concatenate([b["s"].mean((1, 2, 3)) for b in asked.activations(model, ["s"])])
    labels = (means > np.median(means)).astype(np.int64)
    (head,) = fitted_heads(("s",), model, labels, asked.activations)
    assert head.weight.shape == (8, 4) and (head.deviation > 0).all()
    scores = []
    for batch in asked.activations(model, ["s"]):
        shape = (1, -1, 1, 1)
        active = np.maximum((batch["s"] - head.mean.reshape(shape)) / head.deviation.reshape(shape), 0)
        scores.append(active.mean((2, 3)) @ head.weight + head.bias)
    assert np.mean(np.concatenate(scores).argmax(1) == labels) > 0.8


def test_without_places_for_heads_nothing_is_run():
    assert fitted_heads((), residual(), np.zeros(0, np.int64), None) == ()


def test_without_samples_it_says_so():
    model = residual()
    infer_shapes(model)
    with pytest.raises(UsageError, match="there are no samples"):
        fitted_heads(("s",), model, np.zeros(0, np.int64), lambda *_: iter(()))
