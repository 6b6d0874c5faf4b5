import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.layout import fit
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError

RNG = np.random.default_rng(0)
HALF = Preprocess(scale=0.5)


def fitted(x, shape, preprocess=None, dtype="float32"):
    return fit(x.shape[1:], x.dtype, TensorSpec("x", dtype, shape), preprocess, "d.npz: x")(x)


def raw(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("height", [5, "H", None])
def test_nhwc_images_feed_an_nchw_model(height):
    x = raw(2, 5, 6, 3)
    assert np.array_equal(fitted(x, ("N", 3, height, 6), HALF), (x * np.float32(0.5)).transpose(0, 3, 1, 2))


def test_nhwc_images_feed_an_nhwc_model():
    x = raw(2, 5, 6, 3)
    assert np.array_equal(fitted(x, (1, 5, 6, 3), HALF), x * np.float32(0.5))


def test_nchw_data_feeds_either():
    x = RNG.standard_normal((2, 3, 5, 6)).astype(np.float32)
    assert np.array_equal(fitted(x, (1, 3, 5, 6)), x)
    assert np.array_equal(fitted(x, (1, 5, 6, 3)), x.transpose(0, 2, 3, 1))


def test_a_stated_layout_decides_where_the_shape_cannot():
    x = raw(2, 3, 3, 3)
    assert np.array_equal(fitted(x, (1, 3, 3, 3), Preprocess(layout="nhwc")), x)
    assert np.array_equal(fitted(x, (1, 3, 3, 3), Preprocess(layout="nchw")), x.transpose(0, 3, 1, 2))


def test_means_follow_the_channels_through_a_transposition():
    x = raw(2, 5, 6, 3)
    how = Preprocess(mean=(1.0, 2.0, 3.0))
    expected = (x - np.float32([1, 2, 3])).transpose(0, 3, 1, 2)
    assert np.array_equal(fitted(x, (1, 3, 5, 6), how), expected)


def test_grey_images_need_no_channel_axis():
    x = raw(2, 5, 6)
    assert fitted(x, (1, 1, 5, 6), HALF).shape == (2, 1, 5, 6)
    assert fitted(x, (1, 5, 6, 1), HALF).shape == (2, 5, 6, 1)


def test_axes_of_size_one_come_and_go():
    x = RNG.standard_normal((2, 50, 10)).astype(np.float32)
    assert fitted(x, (1, 50, 10, 1)).shape == (2, 50, 10, 1)
    assert fitted(x[..., None], (1, 50, 10)).shape == (2, 50, 10)


def test_images_are_resized_on_the_way():
    assert fitted(raw(2, 9, 12, 3), (1, 3, 4, 4), Preprocess(resize=(6,), crop=(4,))).shape == (2, 3, 4, 4)


def test_integers_feed_an_integer_input_as_they_are():
    x = RNG.integers(0, 9, (2, 7))
    assert np.array_equal(fitted(x, (1, 7), dtype="int64"), x)
    assert fitted(raw(2, 5, 5, 3), (1, 5, 5, 3), dtype="uint8").dtype == np.uint8


@pytest.mark.parametrize(
    ("x", "shape", "dtype", "preprocess", "words"),
    [
        (raw(2, 5, 6, 3), (1, 3, 5, 6), "float32", None, "--preprocess"),
        (raw(2, 5, 6, 3).astype(int), (1, 3, 5, 6), "float32", None, "--preprocess"),
        (raw(2, 5, 6, 3), (1, 3, 7, 7), "float32", HALF, "resize=256"),
        (raw(2, 5, 6, 3), (1, 3, 7, 7), "float32", Preprocess(crop=(7,)), "smaller than the crop"),
        (raw(2, 3, 5, 6), (1, 3, 4, 4), "float32", Preprocess(crop=(4,)), "must be"),
        (raw(2, 5, 6, 1), (1, 1, 5, 6), "float32", Preprocess(mean=(1.0, 2.0, 3.0)), "channels"),
        (raw(2, 8), (1, 8), "float32", Preprocess(resize=(4,)), "only uint8 images"),
        (np.zeros((2, 4)), (1, 5), "float32", None, r"\[4\]"),
        (np.zeros((2, 4)), (1, 4), "int64", None, "takes int64"),
        (np.zeros((2, 4), "U3"), (1, 4), "float32", None, "numbers are needed"),
        (np.zeros((2, 4)), (1, 4), "object", None, "cannot feed"),
        (np.zeros((2, 4)), (1, 4), "seq(tensor(float))", None, "cannot feed"),
        (np.zeros((2, 4)), (1, 4), "bfloat16", None, "cannot feed"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(x, shape, dtype, preprocess, words):
    with pytest.raises(DataError, match=words):
        fitted(x, shape, preprocess, dtype)
