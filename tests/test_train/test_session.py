"""One step: gradients are means over shards, and what cannot be trained is refused by node."""

import dataclasses

import numpy as np
import pytest
from onnx import helper

from pfir.errors import TrainingError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train import session as module
from pfir.train.engines.onnxruntime.gradients import build_gradients
from pfir.train.session import TrainSession
from tests.support.net import model_of, normal
from tests.support.small_nets import after_conv, classifier

LABELS = DistillationSettings(label_weight=1.0)


def started(batch, **more):
    graph = attach_teacher(classifier(norm=False), None, LABELS)
    return TrainSession(graph, {"image": (3, 8, 8), graph.labels: ()}, batch, **more)


def feeds(count):
    return {"image": normal(count, 3, 8, 8), "pfir_loss_labels": np.arange(count) % 5}


def test_shards_together_give_the_gradient_of_the_batch(monkeypatch):
    whole = started(24)
    loss = whole.step(feeds(24)).loss
    monkeypatch.setattr(module, "MOST_PER_SHARD", 8)
    cut = started(24)
    assert (whole.shard, cut.shard) == (24, 8)
    assert cut.step(feeds(24)).loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(cut.gradients.flat, whole.gradients.flat, rtol=1e-3, atol=1e-6)


def test_a_batch_of_one_shard_becomes_two_where_halves_have_samples_enough():
    graph = attach_teacher(classifier(), None, LABELS)
    shapes = {"image": (3, 8, 8), graph.labels: ()}
    frozen = dataclasses.replace(graph, frozen_batch_norm=True)
    assert TrainSession(graph, shapes, 30, halves=True).shard == 30
    assert TrainSession(graph, shapes, 32, halves=True).shard == 16
    assert TrainSession(graph, shapes, 32).shard == TrainSession(frozen, shapes, 32).shard == 32
    assert TrainSession(frozen, shapes, 32, halves=True).shard == 16
    assert [started(batch, halves=True).shard for batch in (1, 32, 64)] == [1, 16, 32]


def test_running_statistics_move_towards_those_of_the_batch():
    graph = attach_teacher(classifier(), None, LABELS)
    session = TrainSession(graph, {"image": (3, 8, 8), graph.labels: ()}, 16)
    before = session.arrays()
    session.step(feeds(16))
    x = np.pad(feeds(16)["image"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))
    y = np.einsum("nchwij,ocij->nohw", windows, before["w"])
    np.testing.assert_allclose(session.arrays()["mean"], 0.1 * y.mean((0, 2, 3)), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(session.arrays()["var"], 0.9 + 0.1 * y.var((0, 2, 3)), rtol=1e-3)


def test_an_operator_without_gradient_is_named_with_its_node():
    with pytest.raises(TrainingError, match=r"node op \(Floor\) cannot be trained: (ONNX Runtime has no|its) gradient"):
        TrainSession(attach_teacher(after_conv("Floor"), after_conv("Floor")), _shapes(), 4)


def test_a_net_without_weights_is_refused():
    model = model_of([helper.make_node("Relu", ["image"], ["y"], "relu")], {}, {"image": ["N", 3, 6, 6]}, {"y": None})
    with pytest.raises(TrainingError, match="has no weights that reach its outputs"):
        TrainSession(attach_teacher(model, model), {"image": (3, 6, 6), "pfir_loss_teacher_y": (3, 6, 6)}, 4)


def test_a_loss_that_no_weight_reaches_has_no_gradient():
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    with pytest.raises(TrainingError, match="no gradient for this model"):
        build_gradients(graph.model.to_proto(), "nowhere", ("weight",), {})


def test_initializers_that_are_gone_after_canonicalization_are_left_aside():
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    graph = dataclasses.replace(graph, trainable=(*graph.trainable, "gone"))
    assert "gone" not in TrainSession(graph, _shapes(), 4).parameters.views


def _shapes():
    return {"image": (3, 6, 6), "pfir_loss_teacher_y": (4, 6, 6)}
