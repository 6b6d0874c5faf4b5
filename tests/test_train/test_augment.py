"""Flips and crops move pixels and invent none."""

import numpy as np

from pfir.train.augment import Cut, draw, draw_cuts, enlarge, flip_crop, mix


def images(count=32, size=16):
    """The column number in the first channel, the row number in the second, a constant in the third."""
    column, row = np.meshgrid(np.arange(size), np.arange(size))
    return np.tile(np.stack([column, row, np.full_like(row, 7)]).astype(np.float32), (count, 1, 1, 1))


def test_both_layouts_are_moved_alike():
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


def whole(count):
    return Cut(np.zeros(count, bool), np.ones((count, 2)), np.zeros((count, 2)))


def test_the_whole_image_enlarged_is_the_image():
    np.testing.assert_array_equal(enlarge(images(4), whole(4)), images(4))


def test_a_part_is_stretched_evenly_from_where_it_lies():
    half = Cut(np.array([False, True]), np.full((2, 2), 0.5), np.array([[0.0, 1.0], [0.0, 1.0]]))
    straight, mirrored = enlarge(images(2), half)
    np.testing.assert_allclose(straight[0, 0], np.linspace(7.5, 15, 16), rtol=1e-6)
    np.testing.assert_allclose(straight[1, :, 0], np.linspace(0, 7.5, 16), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(mirrored, straight[:, :, ::-1])


def test_both_layouts_are_enlarged_alike():
    cut = draw_cuts(np.random.default_rng(1), 8)
    last = enlarge(np.ascontiguousarray(images(8).transpose(0, 2, 3, 1)), cut)
    np.testing.assert_array_equal(enlarge(images(8), cut), last.transpose(0, 3, 1, 2))


def test_cuts_of_some_samples_are_theirs_of_the_whole():
    x, cut, some = images(8), draw_cuts(np.random.default_rng(2), 8), np.array([5, 1])
    np.testing.assert_array_equal(enlarge(x, cut)[some], enlarge(x[some], cut.of(some)))


def test_a_mixture_lies_between_a_sample_and_the_one_before():
    x = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    mixed = mix(x, np.array([1.0, 1.0, 0.5, 0.0]))
    np.testing.assert_allclose(mixed.ravel(), [0, 1, 1.5, 2])
    assert mixed.dtype == np.float32
