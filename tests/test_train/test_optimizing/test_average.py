"""The average of weights: the plain mean at first, exponential from then on."""

import numpy as np
import pytest

from pfir.train.optimizing.average import WeightAverage

WEIGHTS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def averaged(count, decay):
    average = WeightAverage(3, 3, decay)
    for weights in WEIGHTS[:count]:
        average.update(weights, 2 * weights)
    return average


def test_at_first_it_is_the_plain_mean_without_the_start():
    np.testing.assert_allclose(averaged(8, 0.9).parameters, WEIGHTS[:8].mean(0), rtol=1e-5)


def test_later_steps_forget_exponentially():
    expected = averaged(39, 0.9).parameters * 0.9 + 0.1 * WEIGHTS[39]
    np.testing.assert_allclose(averaged(40, 0.9).parameters, expected, rtol=1e-5)


def test_statistics_are_averaged_alike():
    average = averaged(20, 0.7)
    np.testing.assert_allclose(average.statistics, 2 * average.parameters, rtol=1e-5)


@pytest.mark.parametrize("count", [0, 5, 30])
def test_a_restored_average_goes_on_the_same(count):
    first, second = averaged(count, 0.9), WeightAverage(3, 3, 0.9)
    second.restore({name: array.copy() for name, array in first.state().items()})
    for average in (first, second):
        average.update(WEIGHTS[-1], WEIGHTS[-1])
    np.testing.assert_array_equal(first.parameters, second.parameters)
