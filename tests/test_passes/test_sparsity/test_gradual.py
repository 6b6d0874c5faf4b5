"""Zeros that spread while a model is trained: as many as asked for, in their pattern, and nearer than without."""

import numpy as np
import pytest

from pfir.passes.base import Context
from pfir.passes.sparsity.gradual import growth_of, train_sparse
from pfir.passes.sparsity.layers import sparse_layers
from pfir.passes.sparsity.patterns import parse_pattern
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from tests.support.calibration import learning, outputs, samples
from tests.support.small_nets import residual


def trained(**fields):
    net = residual()
    made = net.clone()
    change = SparsifyWeights(0.5, **fields).apply(made, learning(net, train=True))
    return net, made, change


@pytest.mark.parametrize("pattern", ["unstructured", "1x4", "2:4"])
def test_half_of_the_weights_is_zero_in_its_pattern(pattern):
    _, made, change = trained(pattern=pattern, gradual=True)
    assert change.changed and "592 of 1184 weights are zero" in change.notes[0]
    zeros = made.initializers()["w1"].values == 0
    if pattern == "1x4":
        blocks = zeros.reshape(8, 18, 4)
        assert (blocks.all(2) | ~blocks.any(2)).all()


def test_it_is_nearer_than_zeros_alone():
    net, gradual, _ = trained(gradual=True)
    _, plain, _ = trained()
    wanted = outputs(net, samples(net))
    errors = [np.square(outputs(made, samples(net)) - wanted).mean() for made in (gradual, plain)]
    assert errors[0] < errors[1]


def test_a_growth_names_the_weights_that_get_a_share_and_keeps_the_largest():
    net = residual()
    layers, _ = sparse_layers(net, parse_pattern("4x1"), Context())
    growth = growth_of(layers, parse_pattern("4x1"), {"w1": 0.25, "w2": 0.0})
    assert growth.sparsity == {"w1": 0.25}
    weight = net.initializers()["w1"].values
    keep = growth.keep("w1", weight, 0.25)
    assert keep.shape == weight.shape and keep.mean() == 0.75
    totals = np.square(weight).reshape(2, 4, -1).sum(1)
    stay = keep.reshape(2, 4, -1).all(1)
    assert totals[stay].min() > totals[~stay].max()


def test_where_no_weight_gets_a_share_nothing_is_trained():
    net = residual()
    assert not train_sparse(net, growth_of([], parse_pattern("unstructured"), {}), learning(net, train=True))
