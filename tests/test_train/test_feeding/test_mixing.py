"""Mixed samples are what the papers say, in any layout, and carry the shares of what they hold."""

import numpy as np
import pytest

from pfir.errors import DataError, UsageError
from pfir.train.feeding.mixing import Mixing, draw_mixture, mixed, own_shares

COUNT, SIZE = 64, 16


def numbered(*shape):
    """Sample i holds i everywhere."""
    return np.zeros((COUNT, *shape), np.float32) + np.arange(COUNT, dtype=np.float32).reshape(-1, *[1] * len(shape))


def drawn(seed=0, **mixing):
    return draw_mixture(np.random.default_rng(seed), COUNT, Mixing(**mixing))


def mixed_with_partners(x, mixture):
    return mixed({"x": x}, {"x": x[mixture.partners]}, mixture)["x"]


def test_mixup_is_the_sum_by_shares_everywhere():
    x, mixture = numbered(3), drawn(mixup=0.4)
    expected = mixture.shares * np.arange(COUNT) + (1 - mixture.shares) * mixture.partners
    np.testing.assert_allclose(mixed_with_partners(x, mixture), expected[:, None].repeat(3, 1), rtol=1e-5)
    np.testing.assert_array_equal(own_shares({"x": x}, mixture), mixture.shares.astype(np.float32))


def test_cutmix_pastes_a_box_and_its_area_is_the_share_of_the_other():
    x, mixture = numbered(3, SIZE, SIZE), drawn(cutmix=1.0)
    result = mixed_with_partners(x, mixture)
    shares = own_shares({"x": x}, mixture)
    for i, (image, partner) in enumerate(zip(result, mixture.partners, strict=True)):
        other = image[0] != i
        assert set(np.unique(image)) <= {i, partner} and (image == image[0]).all()
        assert partner == i or other.mean() == pytest.approx(1 - shares[i], abs=1e-6)
        rows, columns = np.flatnonzero(other.any(1)), np.flatnonzero(other.any(0))
        assert other.sum() == len(rows) * len(columns)
        assert (np.diff(rows) == 1).all() and (np.diff(columns) == 1).all()


def test_images_of_both_layouts_are_mixed_alike():
    x = np.random.default_rng(1).normal(size=(COUNT, 3, SIZE, SIZE)).astype(np.float32)
    mixture = drawn(mixup=1.0, cutmix=1.0)
    last = mixed_with_partners(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), mixture)
    np.testing.assert_array_equal(mixed_with_partners(x, mixture), last.transpose(0, 3, 1, 2))


def test_both_ways_take_half_of_the_samples_each_and_one_alone_takes_all():
    both = draw_mixture(np.random.default_rng(0), 1000, Mixing(0.2, 1.0))
    assert 0.4 < both.cut.mean() < 0.6
    assert drawn(cutmix=1.0).cut.all() and not drawn(mixup=1.0).cut.any()


def test_shares_follow_alpha():
    flat, ends = (draw_mixture(np.random.default_rng(0), 4000, Mixing(mixup=a)).shares for a in (1.0, 0.1))
    assert flat.std() == pytest.approx(12**-0.5, abs=0.02) and ends.std() > 0.4
    assert flat.mean() == pytest.approx(0.5, abs=0.03)


def test_the_mixture_of_some_samples_is_theirs_of_the_whole():
    x, mixture, some = numbered(3, SIZE, SIZE), drawn(mixup=1.0, cutmix=1.0), np.array([5, 60])
    part = mixture.of(some)
    np.testing.assert_array_equal(
        mixed({"x": x[some]}, {"x": x[part.partners]}, part)["x"], mixed_with_partners(x, mixture)[some]
    )


def test_the_inputs_are_not_changed():
    x = numbered(3, SIZE, SIZE)
    mixed_with_partners(x, drawn(cutmix=1.0))
    np.testing.assert_array_equal(x, numbered(3, SIZE, SIZE))


def test_integers_are_not_mixed():
    with pytest.raises(DataError, match="input x holds uint8"):
        mixed_with_partners(numbered(3).astype(np.uint8), drawn(mixup=1.0))


def test_boxes_are_cut_of_images_alone():
    with pytest.raises(DataError, match=r"input x is \[64, 3\], no images"):
        mixed_with_partners(numbered(3), drawn(cutmix=1.0))


@pytest.mark.parametrize("wrong", [{"mixup": -0.1}, {"cutmix": np.nan}, {"mixup": np.inf}])
def test_alphas_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is"):
        Mixing(**wrong)
