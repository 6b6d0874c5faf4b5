"""Discrimination-aware selection: what tells classes apart comes first, what does nothing last, stage by stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from pfir.compile.training.learning import Learning
from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups
from pfir.passes.base import Context
from pfir.passes.pruning.auxiliary_heads import softmax_regression
from pfir.passes.pruning.criteria import scores
from pfir.passes.pruning.discrimination import groups_by_stage
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.run.activations import activations
from tests.support.calibration import context, learning, outputs, samples
from tests.support.net import Net, model_of
from tests.support.runs import assert_valid
from tests.support.samples import Samples
from tests.support.small_nets import residual, two_convolutions

TELLING = np.array([0, 2, 3, 6])
NOISE = np.setdiff1d(np.arange(8), TELLING)


def _judged(net, asked, name):
    return scores(net, channel_groups(net), "dcp", asked)[name]


LABELS, OTHERS = np.arange(800) % 5, np.arange(800) // 5 % 5
"""The classes, and classes of another kind that say nothing about them."""


def _half_noise():
    """x [N, 8, 2, 2] -> Conv -> Relu -> Conv -> Relu -> pool -> Gemm; each half of the channels leads to itself only.

    The input's channels `TELLING` are the first four classes, the others those of the other kind; else they are alike.
    """
    first, second = np.zeros((8, 8, 1, 1), np.float32), np.zeros((8, 8, 1, 1), np.float32)
    half = np.random.default_rng(0).normal(0, 1, (4, 4)) + 2 * np.eye(4)
    for part in (TELLING, NOISE):
        first[part, part] = 1
        second[np.ix_(part, part)] = half[:, :, None, None]
    pooled = np.maximum(_images().mean((2, 3)) @ second[:, :, 0, 0].T, 0)
    last, bias = softmax_regression(pooled * np.isin(np.arange(8), TELLING), LABELS, 5)
    zeros = np.zeros(8)
    arrays = {"w1": first, "b1": zeros, "w2": second, "b2": zeros, "w3": last.T, "b3": bias}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a1"], "first"),
        helper.make_node("Relu", ["a1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["a2"], "second"),
        helper.make_node("Relu", ["a2"], ["r2"], "relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "head", transB=1),
    ]
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    return model_of(nodes, arrays, {"x": ["N", 8, 2, 2]}, {"y": ["N", 5]})


def _images() -> np.ndarray:
    x = np.zeros((800, 8, 2, 2), np.float32)
    x[:, TELLING], x[:, NOISE] = (np.eye(5, 4)[c][:, :, None, None] for c in (LABELS, OTHERS))
    return x


def _told(net, labelled=True) -> Context:
    data = Samples({"x": _images()}, LABELS if labelled else None)
    asked = Context(lambda m, names: activations(m, names, data, 16))
    return Learning(net, data).given_to(asked, train=False)


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("group", ["first", "second"])
def test_channels_that_tell_the_classes_come_before_those_that_tell_nothing(group, labelled):
    net = _half_noise()
    found = _judged(net, _told(net, labelled), group)
    assert found[TELLING].min() > found[NOISE].max()


def test_other_criteria_cannot_tell_those_channels_apart():
    net = _half_noise()
    found = scores(net, channel_groups(net), "activation", _told(net))["first"]
    np.testing.assert_allclose(found[TELLING], found[NOISE], rtol=1e-4)


def test_dead_channels_come_last():
    net = residual(8)
    dead = [1, 2, 5, 7]
    w, b = (net.initializers()[n].values.copy() for n in ("w1", "b1"))
    w[dead], b[dead] = 0, 0
    net.set_arrays({"w1": w, "b1": b})
    found = _judged(net, learning(net), "inner")
    assert set(np.argsort(found)[:4]) == set(dead)
    assert found[dead].max() < 1e-3 * found.max()


def test_scores_are_what_is_left_of_the_joint_loss():
    net = residual(8)
    for group, found in scores(net, channel_groups(net), "dcp", learning(net)).items():
        assert found.shape == (8,) and (found > 0).all(), group
        assert len(set(found.tolist())) == 8


def test_the_same_data_gives_the_same_scores():
    one, two = (_judged(residual(), learning(residual()), "inner") for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("fields", [{}, {"reconstruct": True}, {"group_wise": True, "reconstruct": True}, {"steps": 2}])
def test_the_pass_prunes_by_discrimination_with_every_schedule(fields):
    net = residual()
    result = net.clone()
    PruneChannels(ratio=0.5, criterion="dcp", **fields).apply(result, learning(net))
    assert_valid(result)
    assert {g.name: g.size for g in channel_groups(result).free()} == {"stem": 4, "inner": 4}


def test_groups_go_by_the_heads_that_come_behind_their_readers():
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6))
    for _ in range(3):
        y = net.conv(net.relu(net.conv(x, 6, 6)), 6, 6)
        x = net.relu(net.op("Add", x, y))
    built = net.model((net.head(x, 6),))
    coupling = channel_groups(built)
    names = [g.name for g in coupling.free()]
    stages = groups_by_stage(built, coupling, names)
    assert sorted(n for _, part in stages for n in part) == sorted(names)
    assert [at for at, _ in stages] == [1, 2, 3] and stages[0][1] == [names[1]]
    assert names[0] in stages[-1][1]  # All blocks read the first group.


def test_a_trainer_is_asked_once_before_each_stage_and_its_weights_are_kept():
    net, seen = residual(), []
    net.set_arrays({"w3": np.arange(32, dtype=np.float32).reshape(4, 8)})
    asked = learning(net)

    def train(graph):
        seen.append(graph)
        return {"w3": graph.model.initializers()["w3"].values + 1, "pfir_loss_head0_weight": np.zeros(1)}

    result = net.clone()
    PruneChannels(ratio=0.5, criterion="dcp", group_wise=True).apply(result, replace(asked, train=train))
    stages = groups_by_stage(net, channel_groups(net), ["stem", "inner"])
    assert len(seen) == len(stages) == 2 and all(g.frozen_batch_norm for g in seen)
    assert np.isin(result.initializers()["w3"].values, net.initializers()["w3"].values + 2).all()


def test_training_between_stages_comes_closer_to_the_labels():
    net = residual()
    labels = np.random.default_rng(0).integers(0, 4, 48)
    results = []
    for train in (False, True):
        results.append(net.clone())
        asked = learning(net, labels, train)
        PruneChannels(ratio=0.5, criterion="dcp", group_wise=True).apply(results[-1], asked)
    losses = []
    for result in results:
        y = outputs(result, samples(net)).astype(np.float64)
        y -= y.max(1, keepdims=True)
        losses.append((np.log(np.exp(y).sum(1)) - y[np.arange(48), labels]).mean())
    assert losses[1] < 0.5 * losses[0]


def test_a_group_with_a_reader_of_another_form_is_judged_by_its_weights():
    net = residual()
    shared = {"w2": "w1"}  # Two nodes read one weight, and it makes channels of one group while it reads another's.
    for node in net.graph.nodes:
        node.inputs = [net.graph.tensors()[shared.get(t.name, t.name)] for t in node.inputs]
    coupling = channel_groups(net)
    found, by_weight = (scores(net, coupling, c, learning(net)) for c in ("dcp", "magnitude"))
    assert found.keys() == by_weight.keys() and all(np.isfinite(v).all() for v in found.values())


def test_a_model_that_is_no_classifier_is_refused():
    net = two_convolutions()
    with pytest.raises(UsageError, match=r"criterion dcp needs a classifier, with one output \[N, K\].*there is y"):
        _judged(net, learning(net), "first")


@pytest.mark.parametrize("missing", ["labels", "differentiate"])
def test_without_labels_or_losses_it_asks_for_data(missing):
    net = residual()
    with pytest.raises(UsageError, match="criterion dcp needs calibration data with the gradients of a loss"):
        _judged(net, replace(learning(net), **{missing: None}), "inner")


def test_without_activations_it_asks_for_data():
    with pytest.raises(UsageError, match="needs calibration data"):
        _judged(residual(), Context(), "inner")
    with pytest.raises(UsageError, match="needs calibration data"):
        _judged(residual(), context(residual()), "inner")
