"""Shares by layer: their sum is what was asked for, and by losses none is better."""

from itertools import product

import numpy as np
import pytest

from pfir.passes.sparsity.criteria import magnitude
from pfir.passes.sparsity.distribution import DISTRIBUTIONS, MOST, cheapest
from tests.support.net import random
from tests.test_passes.test_sparsity.tasks import tasks


def shares(name, sparsity, pattern="unstructured"):
    found = tasks(pattern)
    solutions = {task.layer.tensor: magnitude(task) for task in found}
    return found, solutions, DISTRIBUTIONS[name](found, solutions, sparsity)


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_all_weights_together_are_as_sparse_as_was_asked(name, sparsity):
    found, _, chosen = shares(name, sparsity)
    sizes = {task.layer.tensor: task.layer.weight.size for task in found}
    zeros = sum(sizes[tensor] * share for tensor, share in chosen.items())
    assert sparsity - 0.005 <= zeros / sum(sizes.values()) <= sparsity + 1e-9


def test_by_magnitude_no_weight_stays_that_is_less_than_one_that_goes():
    found, solutions, chosen = shares("global", 0.5)
    made = {t.layer.tensor: solutions[t.layer.tensor](chosen[t.layer.tensor]) for t in found}
    gone = max(np.abs(t.layer.weight[made[t.layer.tensor] == 0]).max() for t in found)
    stays = min(np.abs(t.layer.weight[made[t.layer.tensor] != 0]).min() for t in found)
    assert gone <= stays


def test_layers_of_small_weights_lose_most_by_magnitude_and_as_much_relative_to_the_layer():
    found = tasks()
    small = found[0].layer.tensor
    found[0].layer.weight[...] *= 0.001
    solutions = {task.layer.tensor: magnitude(task) for task in found}
    by_size, by_layer = (DISTRIBUTIONS[name](found, solutions, 0.4)[small] for name in ("global", "lamp"))
    assert by_size > 0.7 > by_layer and by_size <= MOST


def test_by_losses_the_sum_of_errors_is_less_than_uniformly():
    found, solutions, chosen = shares("dp", 0.6)
    errors = [
        sum(t.error(solutions[t.layer.tensor](by[t.layer.tensor])) for t in found)
        for by in (chosen, dict.fromkeys(chosen, 0.6))
    ]
    assert errors[0] <= errors[1]


def test_the_programme_finds_the_best_of_all_choices():
    losses, costs = np.abs(random(4, 3)), np.sort(np.abs(random(4, 3, seed=1)))[:, ::-1]
    budget = 0.5 * costs[:, 0].sum()
    chosen = cheapest(losses, costs, budget)
    every = [
        sum(losses[i, j] for i, j in enumerate(way))
        for way in product(range(3), repeat=4)
        if sum(costs[i, j] for i, j in enumerate(way)) <= budget
    ]
    assert sum(costs[i, j] for i, j in enumerate(chosen)) <= budget
    assert sum(losses[i, j] for i, j in enumerate(chosen)) == pytest.approx(min(every))


def test_a_budget_that_nothing_keeps_is_told():
    assert cheapest(np.zeros((2, 2)), np.ones((2, 2)), 1.5) is None
