"""Mean gradients: what central differences of the loss say, over all batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.errors import DataError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.session import Session
from pfir.train.mean_gradients import mean_gradients
from tests.support.net import Net, normal
from tests.support.small_nets import classifier

STEP = 1e-2


def _dense():
    """Two Concats read the first convolution."""
    net = Net(0)
    a = net.conv(net.input("N", 3, 8, 8), 3, 4)
    b = net.conv(net.relu(a), 4, 4)
    c = net.conv(net.relu(net.op("Concat", a, b, axis=1)), 8, 4)
    return net.model((net.head(net.relu(net.op("Concat", a, b, c, axis=1)), 12),))


def _graph():
    model = classifier()
    return model, attach_teacher(model, None, DistillationSettings(label_weight=1.0))


def _batches(labels, count=3, size=8):
    images = normal(count * size, 3, 8, 8)
    answers = np.arange(count * size) % 5
    return [{"image": images[i : i + size], labels: answers[i : i + size]} for i in range(0, count * size, size)]


def _loss(model, batches, labels):
    logits = [Session(model).predict({"image": b["image"]})["logits"].astype(np.float64) for b in batches]
    scores = np.concatenate(logits)
    chosen = np.concatenate([b[labels] for b in batches])
    return (np.log(np.exp(scores).sum(1)) - scores[np.arange(len(chosen)), chosen]).mean()


def test_mean_gradients_are_the_slopes_of_the_mean_loss_with_batch_norm_as_in_inference():
    model, graph = _graph()
    batches = _batches(graph.labels)
    found = mean_gradients(graph, batches)
    assert set(found) == set(graph.trainable)
    for name, place in (("w", (1, 2, 0, 1)), ("fw", (3, 2)), ("scale", (4,)), ("shift", (0,))):
        sides = []
        for sign in (-1, 1):
            moved = model.clone()
            array = moved.initializers()[name].values.copy()
            array[place] += sign * STEP
            moved.set_arrays({name: array})
            sides.append(_loss(moved, batches, graph.labels))
        assert found[name][place] == pytest.approx((sides[1] - sides[0]) / (2 * STEP), rel=0.02, abs=2e-4)


def test_the_order_of_the_batches_does_not_matter():
    _, graph = _graph()
    batches = _batches(graph.labels)
    there, back = mean_gradients(graph, batches), mean_gradients(graph, batches[::-1])
    for name, gradient in there.items():
        np.testing.assert_allclose(gradient, back[name], rtol=1e-5, atol=1e-7)


def test_no_samples_are_refused():
    with pytest.raises(DataError, match="there are no samples"):
        mean_gradients(_graph()[1], [])


def test_a_model_made_for_one_sample_at_a_time_has_the_same_gradients():
    labels = DistillationSettings(label_weight=1.0)
    one, any_size = (attach_teacher(_reshaping(batch), None, labels) for batch in (1, "N"))
    found = [mean_gradients(graph, _batches(graph.labels)) for graph in (one, any_size)]
    for name, gradient in found[1].items():
        np.testing.assert_allclose(found[0][name], gradient, rtol=1e-4, atol=1e-6)


def _reshaping(batch):
    """The classifier with a Reshape to a literal [1, -1] for its Flatten where the batch is 1."""
    model = classifier(batch=batch)
    flatten = next(n for n in model.nodes() if n.op == "Flatten")
    if batch == 1:
        flatten.op = "Reshape"
        flatten.inputs.append(gs.Constant("sizes", np.array([1, -1])))
    return model


@pytest.mark.parametrize("asked", [(0,), (2,), (4,), (2, 4)])
def test_gradients_of_some_weights_are_what_they_are_among_all(asked):
    graph = attach_teacher(_dense(), None, DistillationSettings(label_weight=1.0))
    feeds = {"in0": normal(8, 3, 8, 8), graph.labels: np.arange(8) % 3}
    names = tuple(graph.trainable[i] for i in asked)
    every, some = (mean_gradients(replace(graph, trainable=t), [feeds]) for t in (graph.trainable, names))
    assert set(some) == set(names)
    for name in names:
        np.testing.assert_allclose(some[name], every[name], rtol=1e-4, atol=1e-7)
