import numpy as np
import pytest
from PIL import Image

from pfir.data.preprocess import Preprocess, parse_preprocess
from pfir.errors import UsageError


def test_the_text_form_is_read():
    text = "scale=1/255,mean=0.5:0.4:0.3,std=0.2:0.2:0.25,resize=256,crop=224,layout=nchw,method=bicubic"
    found = parse_preprocess(text)
    assert (found.scale, found.mean, found.std) == (1 / 255, (0.5, 0.4, 0.3), (0.2, 0.2, 0.25))
    assert (found.resize, found.crop, found.layout, found.method) == ((256,), (224,), "nchw", "bicubic")


def test_a_scale_may_be_a_quotient_of_decimals():
    assert parse_preprocess("scale=1/127.5,mean=1").scale == 1 / 127.5


def test_sizes_may_be_height_by_width():
    assert parse_preprocess("resize=100x200").resize == (100, 200)


def test_imagenet_is_a_beginning():
    found = parse_preprocess("imagenet,crop=224")
    assert found.mean == (0.485, 0.456, 0.406) and found.crop == (224,) and found.scale == 1 / 255


@pytest.mark.parametrize("text", ["imagenet,crop=224", "scale=1/3,method=bicubic,resize=3x4", "", "std=2"])
def test_the_text_form_round_trips(text):
    assert parse_preprocess(str(parse_preprocess(text))) == parse_preprocess(text)


@pytest.mark.parametrize(
    "text",
    [
        "scal=1",
        "scale",
        "scale=a",
        "scale=1/0",
        "scale=1:2",
        "scale=nan",
        "std=0",
        "mean=1:2",
        "resize=0",
        "crop=1x2x3",
        "layout=hwc",
        "method=nearest",
        "scale=1,scale=2",
        "resize=1.5",
        "resize=100000",
        "crop=9000",
    ],
)
def test_what_is_not_understood_is_refused(text):
    with pytest.raises(UsageError, match="preprocess"):
        parse_preprocess(text)


def test_values_follow_the_formula():
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    how = Preprocess(1 / 255, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    mean, std = (np.reshape(v, (3, 1, 1)) for v in (how.mean, how.std))
    assert np.allclose(how.scaled(x, 1), (x / 255 - mean) / std, atol=1e-6)
    assert np.allclose(how.scaled(x.transpose(0, 2, 3, 1), 3).transpose(0, 3, 1, 2), how.scaled(x, 1))


def test_the_shorter_side_is_resized_and_the_centre_kept():
    wide = np.zeros((60, 120, 3), np.uint8)
    wide[:, 45:75] = 255
    out = Preprocess(resize=(30,), crop=(20,)).sized(Image.fromarray(wide))
    assert out.shape == (20, 20, 3)
    assert out[10, 10, 0] == 255 and out[10, 0, 0] == 0 and out[10, 19, 0] == 0


def test_a_thin_image_whose_shorter_side_would_make_it_huge_is_refused():
    with pytest.raises(ValueError, match="too large"):
        Preprocess(resize=(8000,)).sized(Image.fromarray(np.zeros((1, 5000, 3), np.uint8)))


def test_a_crop_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="smaller than the crop"):
        Preprocess(crop=(20,)).sized(Image.new("L", (10, 30)))
