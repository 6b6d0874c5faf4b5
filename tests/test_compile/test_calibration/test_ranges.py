"""What inputs are like, learned from models that were given known ones."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from pfir.artifact import TensorSpec
from pfir.compile.calibration.ranges import learn_ranges
from pfir.data.generated import Range, channel_axis, generated
from pfir.ir.model import Model
from pfir.run.session import Session
from tests.support.net import Net

MEAN, STD = (0.5, -1.0, 2.0), (0.2, 0.3, 0.5)
SIZE = 24
SHAPE = (1, 3, SIZE, SIZE)


def _learned(model, *shape, dtype="float32"):
    found, notes = learn_ranges(model, [TensorSpec("in0", dtype, shape or SHAPE)])
    return found.get("in0"), notes


def _images(shape, mean=MEAN, std=STD):
    return generated([TensorSpec("in0", "float32", shape)], 200, 5, {"in0": Range(mean, std)}).batch(np.arange(200))


def _trained(build, shape=SHAPE, seed=1):
    """The net whose BatchNormalization holds what its layer gave on images of known moments."""

    def net(mean, variance):
        n = Net(seed)
        x = n.input("N", *shape[1:])
        y = build(n, x)
        c = len(mean)
        norm = n.op(
            "BatchNormalization",
            y,
            n.const(np.ones(c, "f")),
            n.const(np.zeros(c, "f")),
            n.const(mean.astype("f")),
            n.const(variance.astype("f")),
        )
        return n, y, norm

    n, y, _ = net(np.zeros(16), np.ones(16))
    (values,) = Session(n.model((y,))).predict(_images(shape)).values()
    rows = np.moveaxis(values, 1, 0).reshape(16, -1)
    n, _, norm = net(rows.mean(1), rows.var(1))
    return n.model((n.relu(norm),))


def _conv(n, x):
    return n.op("Conv", x, n.w(16, 3, 3, 3), n.w(16), kernel_shape=[3, 3])


def test_a_norm_behind_the_first_convolution_tells_mean_and_deviation_of_each_channel():
    found, notes = _learned(_trained(_conv))
    assert np.allclose(found.mean, MEAN, atol=0.05) and np.allclose(found.std, STD, rtol=0.15)
    assert "BatchNormalization_2" in notes[0]


def test_padding_hardly_disturbs_what_is_learned():
    found, _ = _learned(_trained(lambda n, x: n.conv(x, 3, 16)))
    assert np.allclose(found.mean, MEAN, atol=0.3) and np.allclose(found.std, STD, rtol=0.6)


def test_images_with_channels_last_are_followed_through_the_transpose():
    model = _trained(lambda n, x: _conv(n, n.op("Transpose", x, perm=[0, 3, 1, 2])), (1, SIZE, SIZE, 3))
    found, _ = _learned(model, 1, SIZE, SIZE, 3)
    assert np.allclose(found.mean, MEAN, atol=0.05) and np.allclose(found.std, STD, rtol=0.15)


def test_preprocessing_inside_the_model_is_undone():
    def build(n, x):
        centred = n.op("Sub", x, n.const(np.reshape([0.5, -1.0, 2.0], (1, 3, 1, 1)), np.float32))
        return _conv(n, n.op("Mul", centred, n.const(4.0, np.float32)))

    found, _ = _learned(_trained(build))
    assert np.allclose(found.mean, MEAN, atol=0.05) and np.allclose(found.std, STD, rtol=0.15)


def test_a_norm_of_the_input_itself_is_taken_at_its_word():
    n = Net(0)
    x = n.input("N", 3, 8, 8)
    values = [n.const(np.asarray(v, np.float32)) for v in ((1, 1, 1), (0, 0, 0), MEAN, np.square(STD))]
    found, _ = _learned(n.model((n.op("BatchNormalization", x, *values),)), 1, 3, 8, 8)
    assert np.allclose(found.mean, MEAN) and np.allclose(found.std, STD)


def _scaled(op, value, then=None):
    n = Net(0)
    y = n.op(op, n.input("N", 3, 8, 8), n.const(value, np.float32))
    y = y if then is None else n.op(then[0], y, n.const(then[1], np.float32))
    return n.model((n.conv(y, 3, 4),))


@pytest.mark.parametrize(
    ("model", "mean", "std"),
    [
        (_scaled("Div", 255.0), 127.5, 63.75),
        (_scaled("Div", 127.5, ("Sub", 1.0)), 127.5, 63.75),
        (_scaled("Sub", 127.0, ("Mul", 1 / 64)), 127.0, 64.0),
    ],
    ids=["to [0, 1]", "to [-1, 1]", "to mean 0"],
)
def test_without_a_norm_scaling_tells_what_goes_in(model, mean, std):
    found, _ = _learned(model, 1, 3, 8, 8)
    assert np.allclose(found.mean, mean, rtol=0.02) and np.allclose(found.std, std, rtol=0.02)


def test_a_clip_and_a_quantisation_bound_the_input():
    n = Net(0)
    y = n.op("Clip", n.input("N", 3, 8, 8), n.const(0.0, np.float32), n.const(6.0, np.float32))
    found, _ = _learned(n.model((n.conv(y, 3, 4),)), 1, 3, 8, 8)
    assert (found.low, found.high) == (0, 6)
    n = Net(0)
    scale, zero = n.const(0.5, np.float32), n.const(128, np.uint8)
    y = n.op("DequantizeLinear", n.op("QuantizeLinear", n.input("N", 3, 8, 8), scale, zero), scale, zero)
    found, _ = _learned(n.model((n.conv(y, 3, 4),)), 1, 3, 8, 8)
    assert (found.low, found.high) == (-64, 63.5)


def test_bytes_are_levels_of_an_image():
    n = Net(0)
    x = n.op("Cast", n.input("N", 3, 8, 8, dtype=np.uint8), to=1)
    found, _ = _learned(n.model((n.conv(x, 3, 4),)), 1, 3, 8, 8, dtype="uint8")
    assert (found.low, found.high, found.ids) == (0, 255, False)
    made = generated([TensorSpec("in0", "uint8", (1, 3, 8, 8))], 50, 0, {"in0": found}).batch(np.arange(50))["in0"]
    assert made.dtype == np.uint8 and 100 < made.mean() < 155 and 40 < made.std() < 80


def test_the_metadata_of_an_image_model_is_believed():
    n = Net(0)
    proto = n.model((n.conv(n.input("N", 3, 8, 8), 3, 4),)).to_proto()
    helper.set_model_props(proto, {"Image.NominalPixelRange": "NominalRange_0_255"})
    found, notes = _learned(Model.from_proto(proto), 1, 3, 8, 8)
    assert (found.low, found.high) == (0, 255) and "NominalPixelRange" in notes[0]


def test_token_ids_stay_within_the_table_that_they_pick_from():
    n = Net(0)
    ids = n.input("N", 5, dtype=np.int64)
    rows = n.op("Gather", n.w(11, 4), n.op("Identity", ids))
    found, notes = _learned(n.model((n.linear(rows, 4, 3),)), 1, 5, dtype="int64")
    assert (found.low, found.high, found.ids) == (0, 10, True)
    assert "ids from 0 to 10" in notes[0]


def test_without_a_clue_the_note_says_so():
    n = Net(0)
    found, notes = _learned(n.model((n.conv(n.input("N", 3, 8, 8), 3, 4),)), 1, 3, 8, 8)
    assert found is None and "does not tell the range of its input in0" in notes[0]


def test_shifts_that_differ_from_place_to_place_teach_nothing():
    n = Net(0)
    y = n.op("Add", n.input("N", 3, 8, 8), n.w(1, 3, 8, 8))
    found, _ = _learned(n.model((n.conv(y, 3, 4),)), 1, 3, 8, 8)
    assert found is None


def test_the_channel_axis_is_the_smaller_of_first_and_last():
    assert [channel_axis(s) for s in ((3, 8, 8), (8, 8, 3), (4, 4), (7,))] == [0, 2, 0, None]
