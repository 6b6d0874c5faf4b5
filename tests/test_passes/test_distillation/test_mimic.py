"""Features before the last pooling: found, learnt, and followed by the original's head, which takes the adaptor in."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.passes.distillation.head import head_of
from pfir.passes.distillation.mimic import ADAPTOR, heads, mimicry
from pfir.run.session import Session
from tests.support.jobs import images, small_net
from tests.support.net import Net
from tests.support.small_nets import after_conv


def with_matmul():
    """A head of MatMul, Add and Softmax."""
    net = Net(0)
    x = net.op("GlobalAveragePool", net.relu(net.conv(net.input("N", 3, 8, 8), 3, 6)))
    scores = net.op("Add", net.op("MatMul", net.op("Flatten", x), net.w(6, 4)), net.w(4))
    return net.model((net.op("Softmax", scores),))


def narrower(width):
    """The small net with so many channels before its head."""
    net = Net(1)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, width, strides=[2, 2]))
    return net.model((net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), width, 5),))


@pytest.mark.parametrize(("model", "channels"), [(small_net(), 32), (with_matmul(), 6)])
def test_a_head_reads_what_is_pooled(model, channels):
    ours, _ = heads(model, model)
    assert ours.channels == channels and ours.bias is not None
    np.testing.assert_allclose(ours.laid_out(ours.matrix()), model.initializers()[ours.weight].values)


def test_a_net_without_a_mean_before_its_scores_has_no_head():
    assert head_of(after_conv("Relu")) is None
    with pytest.raises(UsageError, match="no features to mimic"):
        heads(after_conv("Relu"), small_net())


def test_a_student_whose_head_adds_no_bias_is_refused():
    net = Net(0)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(net.input("N", 3, 8, 8), 3, 6)))
    bare = net.model((net.op("MatMul", x, net.w(6, 4)),))
    with pytest.raises(UsageError, match="adds no bias"):
        mimicry(bare, bare)


def test_only_what_comes_before_the_pooling_learns():
    model = small_net()
    found = mimicry(model, model)
    ours, _ = heads(model, model)
    assert found.graph.metrics == (f"pfir_loss_error_{ours.features}",)
    assert ours.weight not in found.graph.trainable and len(found.graph.trainable) > 4
    assert list(found.graph.teacher_inputs) == [t.name for t in found.graph.teacher.graph.outputs]


def test_a_head_takes_in_the_adaptor_before_it():
    student, teacher, rng = narrower(12), narrower(20), np.random.default_rng(0)
    found = mimicry(student, teacher)
    learnt = {ADAPTOR: rng.standard_normal((20, 12, 1, 1)).astype(np.float32)}
    learnt[f"{ADAPTOR}_bias"] = rng.standard_normal(20).astype(np.float32)
    assert {ADAPTOR, f"{ADAPTOR}_bias"} <= set(found.graph.trainable)
    changed = student.clone()
    changed.set_arrays(found.arrays(learnt))
    ours, theirs = heads(student, teacher)
    feeds = {"in0": images(3)}
    pooled = Session(student.until([ours.features])).predict(feeds)[ours.features].mean((2, 3))
    mapped = pooled @ learnt[ADAPTOR][:, :, 0, 0].T + learnt[f"{ADAPTOR}_bias"]
    expected = mapped @ theirs.matrix().T + teacher.initializers()[theirs.bias].values
    got = next(iter(Session(changed).predict(feeds).values()))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
