"""Adaptors beside branches that went: the identity at first, and merged into the convolutions there without a trace."""

import numpy as np

from pfir.ir.edit import remove_dead
from pfir.passes.distillation.adaptors import BEFORE, beside_gone_branches, with_adaptors
from pfir.run.session import Session
from tests.support.jobs import images
from tests.support.net import Net


def residual(branches=(True, True, True)):
    """Three residual blocks of two convolutions; the names of nodes do not depend on which are there."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, 8, bias=False))
    for kept in branches:
        first = net.relu(net.conv(x, 8, 8, bias=False))
        second = net.conv(first, 8, 8, bias=False)
        added = second if kept else net.const(np.zeros(1, np.float32))
        x = net.relu(net.op("Add", x, added))
    return net.model((net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), 8, 5),))


def without_middle():
    model = residual((True, False, True))
    remove_dead(model.graph)
    return model


def test_convolutions_around_a_gone_branch_are_found():
    before, behind = beside_gone_branches(without_middle(), residual())
    convolutions = [n.name for n in residual().nodes() if n.op == "Conv"]
    assert before == (convolutions[5],) and behind == (convolutions[2],)
    assert beside_gone_branches(residual(), residual()) == ((), ())


def test_adaptors_change_nothing_before_they_learn_and_merge_into_what_they_stand_beside():
    model = without_middle()
    adapted, feeds = with_adaptors(model, residual()), {"in0": images(3)}
    expected = _answers(model, feeds)
    assert len(adapted.adaptors) == 2 and any(name.startswith(BEFORE) for name in adapted.adaptors)
    np.testing.assert_allclose(_answers(adapted.model, feeds), expected, rtol=1e-4, atol=1e-5)
    rng = np.random.default_rng(0)
    learnt = {n: t.values for n, t in adapted.model.initializers().items()}
    learnt |= {n: rng.standard_normal(learnt[n].shape).astype(np.float32) for n in adapted.adaptors}
    adapted.model.set_arrays(learnt)
    changed = model.clone()
    changed.set_arrays(adapted.merged(learnt))
    np.testing.assert_allclose(_answers(changed, feeds), _answers(adapted.model, feeds), rtol=1e-3, atol=1e-3)


def _answers(model, feeds):
    return next(iter(Session(model).predict(feeds).values()))
