"""What stays is the best that there is with these zeros."""

import numpy as np

from pfir.passes.sparsity.least_squares import refitted
from tests.support.net import random
from tests.test_passes.test_sparsity.tasks import energy, gram


def test_no_other_values_at_these_places_are_nearer():
    weight, moments = random(3, 8).astype(np.float64), gram(8)
    keep = random(3, 8, seed=1) > 0
    best = refitted(weight, keep, moments)
    least = energy(best - weight, moments)
    assert not best[~keep].any() and least < energy(weight * keep - weight, moments)
    for seed in range(20):
        other = best + 1e-3 * random(3, 8, seed=seed) * keep
        assert energy(other - weight, moments) > least


def test_nothing_gone_changes_nothing_and_all_gone_is_zero():
    weight, moments = random(2, 5).astype(np.float64), gram(5)
    assert np.allclose(refitted(weight, np.ones((2, 5), bool), moments), weight)
    assert not refitted(weight, np.zeros((2, 5), bool), moments).any()
