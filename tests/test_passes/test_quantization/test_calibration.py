import numpy as np
import pytest

from pfir.passes.quantization.calibration import CALIBRATIONS, calibrated, min_max_range, range_finder
from pfir.passes.quantization.ranges import Histogram


def _histogram(values):
    histogram = Histogram()
    histogram.add(np.asarray(values, np.float32))
    return histogram


def _error(values, grid):
    return float(np.square(grid.nearest(values) - values).mean())


NORMAL = np.random.default_rng(0).normal(size=20_000)
HEAVY = np.random.default_rng(1).laplace(size=20_000) ** 3 * 0.1


def test_min_max_clips_nothing():
    grid = calibrated(_histogram(HEAVY), min_max_range, 8)
    assert np.abs(grid.nearest(HEAVY) - HEAVY).max() <= grid.scale * 1.001


@pytest.mark.parametrize("values", [NORMAL, np.maximum(NORMAL, 0), HEAVY, np.minimum(HEAVY, 0)])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_no_method_has_less_squared_error_than_mse(values, bits):
    histogram = _histogram(values)
    errors = {name: _error(values, calibrated(histogram, range_finder(name, 99.9), bits)) for name in CALIBRATIONS}
    assert errors["mse"] <= min(errors.values()) * 1.02


def test_outliers_are_clipped_by_all_but_min_max():
    values = np.append(NORMAL, 100.0)
    histogram = _histogram(values)
    tops = {n: calibrated(histogram, range_finder(n, 99.9), 4).bounds[1] for n in CALIBRATIONS}
    assert tops["min-max"] > 90 and max(v for n, v in tops.items() if n != "min-max") < 50


def test_a_range_is_searched_again_only_when_there_are_more_values():
    find, histogram = range_finder("min-max", 99.9), _histogram(NORMAL)
    once = find(histogram, 256)
    assert find(histogram, 256) is once
    histogram.add(np.full(1, 1e3, np.float32))
    assert find(histogram, 256)[1] == 1e3


@pytest.mark.parametrize("share", [90.0, 99.0])
def test_a_percentile_keeps_its_share_within_the_range(share):
    low, high = range_finder("percentile", share)(_histogram(NORMAL), 256)
    assert np.mean((low <= NORMAL) & (high >= NORMAL)) == pytest.approx(share / 100, abs=0.005)


def test_zeros_count_for_a_percentile():
    values = np.append(np.zeros(99_000), np.linspace(1, 2, 1000))
    low, high = range_finder("percentile", 99.0)(_histogram(values), 256)
    assert low == 0 and high == pytest.approx(1.5, abs=0.01)


def test_a_percentile_that_leaves_nothing_is_no_range_of_its_own():
    assert range_finder("percentile", 90.0)(_histogram([0.0] * 99 + [1.0]), 256) == (0.0, 1.0)


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_ranges_hold_zero_and_lie_within_least_and_greatest(method):
    for values in (NORMAL, NORMAL + 9, NORMAL - 9, np.abs(HEAVY)):
        low, high = range_finder(method, 99.9)(_histogram(values), 256)
        assert min(values.min(), 0) - 1e-4 <= low <= 0 <= high <= max(values.max(), 0) + 1e-4


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_nothing_but_zeros_is_no_fault(method):
    assert calibrated(_histogram(np.zeros(9)), range_finder(method, 99.9), 8).bounds[0] == 0
