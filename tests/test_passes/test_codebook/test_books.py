import numpy as np
import pytest

from pfir.passes.codebook.books import book_count, fitted, rows, unrolled


def _weight(shape=(6, 4, 3, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_rows_of_a_weight_come_back(axis):
    weight = _weight()
    assert np.array_equal(unrolled(rows(weight, axis), axis, weight.shape), weight)


@pytest.mark.parametrize("channels", [0, 1, 4])
def test_weights_are_the_nearest_values_of_their_codebook(channels):
    weight = _weight()
    books = fitted(weight, 0, 3, np.ones(weight.shape), channels)
    assert books.bits == 3 and len(books.levels) == (1 if not channels else book_count(6, channels))
    for levels, values, given in zip(
        books.levels, np.split(books.values(), len(books.levels)), np.split(weight, len(books.levels)), strict=True
    ):
        gaps = np.abs(given[..., None] - levels)
        assert np.allclose(np.abs(values - given), gaps.min(-1))


@pytest.mark.parametrize(("outputs", "channels", "count"), [(8, 3, 4), (8, 8, 1), (7, 4, 7), (6, 1, 6)])
def test_codebooks_divide_the_channels(outputs, channels, count):
    assert book_count(outputs, channels) == count


def test_zeros_stay_zero():
    weight = _weight()
    weight[:, :2] = 0
    books = fitted(weight, 0, 2, np.ones(weight.shape))
    assert not books.values()[:, :2].any() and np.any(books.levels == 0)
    assert not books.of(weight + 1).values()[:, :2].any()


def test_other_levels_are_taken_in_order_and_places_follow():
    books = fitted(_weight(), 0, 2, np.ones((6, 4, 3, 3)))
    moved = books.with_levels(-books.levels)
    assert np.array_equal(moved.values(), -books.values()) and np.array_equal(moved.levels, np.sort(-books.levels))
