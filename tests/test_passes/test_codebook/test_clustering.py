import itertools

import numpy as np
import pytest

from pfir.passes.codebook.clustering import MOST_POINTS, STARTS, clustered, nearest


def _error(values, weights, levels):
    return float((weights * np.square(values - levels[nearest(levels, values)])).sum())


def _least(values, weights, count):
    """The error of the best clusters, by trying all."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    cuts = ([0, *cut, len(values)] for cut in itertools.combinations(range(1, len(values)), count - 1))
    means = ([np.average(values[a:b], weights=weights[a:b]) for a, b in itertools.pairwise(cut)] for cut in cuts)
    return min(_error(values, weights, np.array(each)) for each in means)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_few_numbers_are_clustered_best_of_all(count):
    rng = np.random.default_rng(count)
    values, weights = rng.normal(size=10), rng.random(10)
    levels = clustered(values, weights, count)
    assert _error(values, weights, levels) == pytest.approx(_least(values, weights, count))


@pytest.mark.parametrize("start", STARTS)
def test_no_centre_of_many_numbers_can_move_for_a_smaller_error(start):
    rng = np.random.default_rng(0)
    values, weights = rng.standard_t(4, 4 * MOST_POINTS), rng.random(4 * MOST_POINTS)
    levels = clustered(values, weights, 8, start)
    assert np.array_equal(levels, np.sort(levels))
    for place, level in enumerate(levels):
        own = nearest(levels, values) == place
        assert np.average(values[own], weights=weights[own]) == pytest.approx(level, abs=1e-3)


def test_the_best_start_loses_less_than_that_by_quantiles():
    values = np.random.default_rng(0).standard_t(3, 4 * MOST_POINTS)
    by_start = [_error(values, np.ones(values.size), clustered(values, np.ones(values.size), 16, s)) for s in STARTS]
    assert by_start[0] < 0.9 * by_start[1]


def test_fewer_distinct_numbers_than_clusters_are_kept_as_they_are():
    assert clustered(np.array([2.0, 1.0, 2.0]), np.zeros(3), 4).tolist() == [1, 2, 2, 2]
    assert clustered(np.empty(0), np.empty(0), 2).tolist() == [0, 0]


def test_centres_lie_where_numbers_weigh():
    values = np.array([0.0, 1.0, 10.0])
    assert clustered(values, np.array([1.0, 1.0, 100.0]), 2).tolist() == pytest.approx([0.5, 10])
    assert clustered(values, np.array([100.0, 1.0, 0.0]), 2).tolist() == pytest.approx([0, 1], abs=1e-6)
