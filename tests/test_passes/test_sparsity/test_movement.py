"""Movement: weights that descent takes towards zero score low."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.passes.base import Context
from pfir.passes.sparsity.layers import sparse_layers
from pfir.passes.sparsity.movement import STEPS, movements
from pfir.passes.sparsity.patterns import Pattern
from tests.support.small_nets import dense_layers, residual


def found(net, gradients):
    layers, _ = sparse_layers(net, Pattern(), Context())
    return movements(net, layers, Context(gradients=gradients))


def test_weights_that_shrink_score_low_and_those_that_grow_high():
    net = residual()
    before = {name: held.values.copy() for name, held in net.initializers().items()}

    def shrink(model, names):
        return {n: model.initializers()[n].values * [[[[1, -1, 0]]]] for n in names if n == "w1"}

    scores = found(net, shrink)["w1"].reshape(8, 8, 3, 3)
    assert (scores[..., 0] < 0).all() and (scores[..., 1] > 0).all() and not scores[..., 2].any()
    assert all(np.array_equal(before[n], held.values) for n, held in net.initializers().items())


def test_the_weights_move_between_the_steps():
    seen = []

    def gradients(model, names):
        seen.append(model.initializers()[names[0]].values.copy())
        return {names[0]: np.ones_like(seen[-1])}

    found(dense_layers(), gradients)
    assert len(seen) == STEPS and all((b < a).all() for a, b in zip(seen, seen[1:], strict=False))


def test_a_gradient_of_nothing_moves_nothing():
    def zeros(model, names):
        return {n: np.zeros_like(model.initializers()[n].values) for n in names}

    assert not any(scores.any() for scores in found(dense_layers(), zeros).values())


def test_without_gradients_it_says_what_to_give():
    with pytest.raises(UsageError, match="movement needs gradients .*--data"):
        found(residual(), None)
