"""The exact order: that of trying every weight each time, the cheapest over all outputs first."""

import numpy as np
import pytest

from pfir.passes.sparsity.exact import ExactElimination
from pfir.passes.sparsity.least_squares import refitted
from pfir.passes.sparsity.patterns import parse_pattern
from tests.support.net import random
from tests.test_passes.test_sparsity.tasks import energy, gram


def tried(weight, moments, unit: int, count: int) -> np.ndarray:
    """bool [F]: what stays of one output once the best of all remaining units has gone so many times."""
    keep = np.ones(weight.size, bool)
    for _ in range(count):
        losses = {}
        for start in range(0, weight.size, unit):
            if keep[start]:
                without = keep.copy()
                without[start : start + unit] = False
                losses[start] = energy(refitted(weight[None], without[None], moments) - weight, moments)
        best = min(losses, key=losses.get)
        keep[best : best + unit] = False
    return keep


@pytest.mark.parametrize(("text", "unit"), [("unstructured", 1), ("1x4", 4)])
def test_it_removes_what_trying_all_would(text, unit):
    weight, moments = random(1, 16).astype(np.float64), gram(16)
    found = ExactElimination(weight, moments, parse_pattern(text), 1).at(0.75)
    assert np.array_equal(found[0] != 0, tried(weight[0], moments, unit, 12 // unit))


def test_weights_go_where_they_cost_least_over_all_outputs():
    weight, moments = random(4, 12).astype(np.float64), gram(12)
    weight[0] *= 100
    found = ExactElimination(weight, moments, parse_pattern("unstructured"), 1).at(0.5)
    assert (found != 0).sum() == 24
    assert (found[0] != 0).sum() == 12


@pytest.mark.parametrize("text", ["unstructured", "2:4", "1x4", "4x1", "channel-vectors"])
def test_it_loses_less_than_the_same_share_by_magnitude(text):
    weight, moments, pattern = random(8, 32).astype(np.float64), gram(32), parse_pattern(text)
    found = ExactElimination(weight, moments, pattern, 4).at(0.5)
    plain = weight * pattern.keep(np.square(weight), 4, 0.5)
    assert np.array_equal((found != 0).sum(), (plain != 0).sum())
    assert energy(found - weight, moments) < 0.7 * energy(plain - weight, moments)


def test_of_four_channels_two_stay_at_each_tap():
    found = ExactElimination(random(8, 32).astype(np.float64), gram(32), parse_pattern("2:4"), 4).at(0.5)
    assert ((found != 0).reshape(8, 2, 4, 4).sum(2) == 2).all()


def test_more_zeros_lose_more():
    weight, moments = random(4, 12).astype(np.float64), gram(12)
    order = ExactElimination(weight, moments, parse_pattern("unstructured"), 1)
    losses = [energy(order.at(share) - weight, moments) for share in (0.0, 0.25, 0.5, 0.75, 0.95)]
    assert losses == sorted(losses) and losses[0] < 1e-20
