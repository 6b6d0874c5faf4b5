"""Soft weights: they start as the weights, follow a gradient, and end at integers."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.passes.quantization.rounding.soft import Annealing, SoftWeights
from tests.support.net import normal

SCALE = np.array([[0.25], [0.5]], np.float32)


def soft(limit=7):
    return SoftWeights(normal(2, 6), SCALE, limit)


def test_they_start_as_the_weights():
    np.testing.assert_allclose(soft(127).values, normal(2, 6), atol=1e-5)


def test_their_integers_at_first_are_the_nearest_within_the_range():
    nearest = np.clip(np.rint(normal(2, 6) / SCALE), -3, 3)
    np.testing.assert_array_equal(soft(3).integers, nearest)


def test_with_a_start_they_lie_next_to_it_on_the_side_of_the_weight():
    start = np.rint(normal(2, 6) / SCALE) + np.array([[1, -1, 0, 1, -1, 0]])
    weights = SoftWeights(normal(2, 6), SCALE, 127, start)
    np.testing.assert_array_equal(weights.integers, start)
    away = weights.values / SCALE - start
    assert np.all(np.abs(away) <= 0.4001)
    np.testing.assert_array_equal(np.sign(np.rint(1e3 * away)), np.sign(np.rint(1e3 * (normal(2, 6) / SCALE - start))))


def test_a_step_lowers_what_its_gradient_is_of():
    weights, wanted = soft(), normal(2, 6) + 0.05
    before = np.square(weights.values - wanted).sum()
    for _ in range(20):
        weights.step(2 * (weights.values - wanted), 0.01, None, 0.0)
    assert np.square(weights.values - wanted).sum() < before


def test_the_regulariser_makes_every_weight_choose_one_of_its_two_integers():
    weights = soft(127)
    below = np.floor(normal(2, 6) / SCALE)
    for step in range(500):
        weights.step(np.zeros((2, 6), np.float32), 0.05, Annealing(warm_share=0).beta(step / 500), 1.0)
    np.testing.assert_allclose(weights.values / SCALE, weights.integers, atol=0.05)
    assert np.isin(weights.integers - below, (0, 1)).all()


def test_beta_is_none_at_first_and_then_falls():
    annealing = Annealing(first=20, last=2, warm_share=0.2)
    assert annealing.beta(0.1) is None
    assert (annealing.beta(0.2), annealing.beta(0.6), annealing.beta(1.0)) == (20, 11, 2)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"weight": -1}, "weight of the regulariser is -1"),
        ({"last": 0}, "beta goes from 20.0 to 0"),
        ({"warm_share": 1}, "warm_share is 1; it must be in"),
    ],
)
def test_annealing_out_of_range_is_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        Annealing(**fields)
