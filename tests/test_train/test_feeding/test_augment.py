"""Flips and crops move pixels and invent none."""

import numpy as np

from pfir.train.feeding.augment import draw, flip_crop


def images(count=32, size=16):
    """The column number in the first channel, the row number in the second, a constant in the third."""
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    return np.tile(np.stack([column, row, np.full_like(row, 7)]).astype(np.float32), (count, 1, 1, 1))


def test_images_of_both_layouts_are_moved_alike():
    x = images()
    view = draw(np.random.default_rng(1), len(x))
    first = flip_crop(x, view)
    last = flip_crop(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), view)
    np.testing.assert_array_equal(first, last.transpose(0, 3, 1, 2))


def test_rows_stay_in_order_and_columns_may_turn_around():
    for column, row, constant in flip_crop(images(), draw(np.random.default_rng(0), 32)):
        assert (np.diff(row, axis=0) >= 0).all() and (np.diff(row, axis=1) == 0).all()
        steps = np.unique(np.diff(column, axis=1))
        assert (steps >= 0).all() or (steps <= 0).all()
        assert (constant == 7).all()


def test_about_half_are_mirrored_and_shifts_stay_within_an_eighth():
    moved = flip_crop(images(400), draw(np.random.default_rng(0), 400))
    mirrored = (moved[:, 0, 0, 0] > moved[:, 0, 0, -1]).mean()
    assert 0.4 < mirrored < 0.6
    assert set(moved[:, 1, 8, 0]) == set(range(6, 11))


def test_the_input_is_not_changed():
    x = images()
    flip_crop(x, draw(np.random.default_rng(0), len(x)))
    np.testing.assert_array_equal(x, images())


def test_a_view_of_some_samples_is_theirs_of_the_whole():
    x = images(8)
    x += np.arange(8, dtype=np.float32)[:, None, None, None]
    view, some = draw(np.random.default_rng(2), 8), np.array([5, 1])
    np.testing.assert_array_equal(flip_crop(x, view)[some], flip_crop(x[some], view.of(some)))
