"""Rounding by compensation: the laws of its minimum, and what it is for."""

import numpy as np
import pytest

from pfir.passes.quantization.rounding.compensated import compensated
from tests.test_passes.test_quantization.test_rounding.test_objective import objective

OPEN = (-np.inf, np.inf)


def error(found, integers, scale=None):
    weight = (found.scale if scale is None else scale) * integers
    return found.error(weight, found.gap(weight))


@pytest.mark.parametrize("name", ["first", "depthwise", "point"])
def test_it_is_better_than_the_nearest(name):
    found = objective(name, 4, OPEN)
    nearest = np.clip(np.rint(found.weight / found.scale), -7, 7)
    best = compensated(found, 7)
    assert error(found, best.integers, best.scale) < error(found, nearest)


def test_no_single_integer_can_be_changed_for_a_much_smaller_error():
    found = objective("point", 3, OPEN)
    best = compensated(found, 3)
    least = error(found, best.integers, best.scale)
    for k in range(best.integers.shape[2]):
        for step in (-1, 1):
            other = best.integers.copy()
            other[:, :, k] = np.clip(other[:, :, k] + step, -3, 3)
            assert least <= error(found, other, best.scale) * 1.05


def test_no_other_scale_is_much_better_for_its_integers():
    found = objective("point", 3, OPEN)
    best = compensated(found, 3)
    least = error(found, best.integers, best.scale)
    assert all(least <= error(found, best.integers, factor * best.scale) * 1.02 for factor in (0.9, 0.95, 1.05, 1.1))


def test_integers_stay_within_the_limit():
    integers = compensated(objective("first", 2, OPEN), 1).integers
    assert np.isin(integers, (-1, 0, 1)).all()
