import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import Range, generated
from pfir.errors import UsageError
from tests.support.samples import kinds_of_images

IMAGE = TensorSpec("x", "float32", ("N", 3, 32, 32))


def test_a_seed_gives_the_same_samples_in_any_order():
    one, two = generated([IMAGE], 10, seed=3), generated([IMAGE], 10, seed=3)
    assert np.array_equal(one.batch(np.arange(10))["x"][[7, 2]], two.batch(np.array([7, 2]))["x"])
    assert one.fingerprint() == two.fingerprint()


def test_another_seed_gives_other_samples():
    one, two = generated([IMAGE], 2, seed=3), generated([IMAGE], 2, seed=4)
    assert not np.array_equal(one.batch(np.array([0]))["x"], two.batch(np.array([0]))["x"])
    assert one.fingerprint() != two.fingerprint()


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 32, 32, 3), ("N", 3, 100)])
def test_channels_have_the_mean_and_spread_asked_for(shape):
    ranges = {"x": Range(mean=(1.0, 2.0, 3.0), std=(0.1, 0.2, 0.3))}
    x = generated([TensorSpec("x", "float32", shape)], 400, 0, ranges).batch(np.arange(400))["x"]
    axis = 1 if shape[1] == 3 else 3
    rows = np.moveaxis(x, axis, 0).reshape(3, -1)
    assert np.allclose(rows.mean(1), [1, 2, 3], rtol=0.05)
    assert np.allclose(rows.std(1), [0.1, 0.2, 0.3], rtol=0.1)


def test_amplitude_falls_with_frequency():
    x = generated([IMAGE], 100).batch(np.arange(100))["x"]
    power = (np.abs(np.fft.rfft(x, axis=3)) ** 2).mean((0, 1, 2))
    assert power[1] > 2 * power[4] > 4 * power[12]


def test_generated_values_keep_their_bounds():
    x = generated([IMAGE], 5, 0, {"x": Range(low=0.0, high=0.5)}).batch(np.arange(5))["x"]
    assert x.min() >= 0 and x.max() <= 0.5


def test_token_ids_lie_in_their_range():
    ids = generated([TensorSpec("t", "int64", (1, 50))], 20, 0, {"t": Range(low=2, high=9)}).batch(np.arange(20))["t"]
    assert ids.dtype == np.int64 and ids.min() == 2 and ids.max() == 9


def test_every_input_is_fed_in_its_type():
    specs = [TensorSpec("a", "float16", (1, 8)), TensorSpec("m", "bool", (1, 8)), TensorSpec("i", "int32", (1, 8))]
    batch = generated(specs, 3).batch(np.arange(3))
    assert [(k, v.dtype.name, v.shape) for k, v in batch.items()] == [
        ("a", "float16", (3, 8)),
        ("m", "bool", (3, 8)),
        ("i", "int32", (3, 8)),
    ]


def test_an_index_beyond_the_count_is_an_error():
    with pytest.raises(IndexError):
        generated([IMAGE], 3).batch(np.array([3]))


def test_a_size_that_is_not_fixed_is_refused():
    with pytest.raises(UsageError, match="--input-shape"):
        generated([TensorSpec("x", "float32", (1, 3, "H", 32))], 3)


def test_wrong_counts_and_ranges_are_refused():
    with pytest.raises(UsageError, match="at least 1"):
        generated([IMAGE], 0)
    with pytest.raises(UsageError, match="channels"):
        generated([IMAGE], 1, 0, {"x": Range(mean=(0.0, 1.0))})
    with pytest.raises(UsageError, match="above high"):
        Range(low=1, high=0)
    with pytest.raises(UsageError, match="negative"):
        Range(std=(-1.0,))


BLENDED = [IMAGE, TensorSpec("x", "float32", (1, 32, 32, 3)), TensorSpec("x", "float16", (1, 256))]


@pytest.mark.parametrize("spec", BLENDED, ids=str)
def test_every_turn_has_other_samples_the_same_in_any_order(spec):
    one, two = generated([spec], 6, seed=3), generated([spec], 6, seed=3)
    turns = [one.anew(t).batch(np.arange(6))["x"] for t in range(3)]
    assert np.array_equal(turns[2][[4, 1]], two.anew(2).batch(np.array([4, 1]))["x"])
    assert np.array_equal(turns[0], one.batch(np.arange(6))["x"]) and turns[1].dtype == turns[0].dtype
    assert len({x.tobytes() for turn in turns for x in turn}) == 18
    assert len({one.anew(t).fingerprint() for t in range(3)}) == 3


def test_later_turns_are_distributed_like_the_first():
    ranges = {"x": Range(mean=(1.0, 2.0, 3.0), std=(0.1, 0.2, 0.3))}
    data = generated([IMAGE], 400, 0, ranges)
    first, later = (data.anew(t).batch(np.arange(400))["x"] for t in (0, 5))
    rows = np.moveaxis(later, 1, 0).reshape(3, -1)
    assert np.allclose(rows.mean(1), [1, 2, 3], rtol=0.05)
    assert np.allclose(rows.std(1), [0.1, 0.2, 0.3], rtol=0.1)
    power = [(np.abs(np.fft.rfft2(x - x.mean((0, 2, 3), keepdims=True))) ** 2).mean((0, 1)) for x in (first, later)]
    assert np.allclose(power[0][0, 1:9], power[1][0, 1:9], rtol=0.3)
    assert np.isclose(later.mean((1, 2, 3)).std(), first.mean((1, 2, 3)).std(), rtol=0.2)


def test_later_turns_keep_bounds_and_kinds():
    ranges = {"x": Range(low=0.0, high=0.5), "u": Range((128,), (64,), 0, 255, ids=False), "i": Range(low=2, high=9)}
    specs = [
        IMAGE,
        TensorSpec("u", "uint8", (1, 8, 8, 3)),
        TensorSpec("i", "int64", (1, 50)),
        TensorSpec("m", "bool", (1, 50)),
    ]
    batch = generated(specs, 20, 0, ranges).anew(1).batch(np.arange(20))
    assert batch["x"].min() >= 0 and batch["x"].max() <= 0.5
    assert batch["u"].dtype == np.uint8 and len(np.unique(batch["u"])) > 50
    assert (batch["i"].dtype, batch["i"].min(), batch["i"].max()) == (np.int64, 2, 9)
    assert batch["m"].dtype == bool and 0.3 < batch["m"].mean() < 0.7


def test_a_part_stays_a_part_in_every_turn_and_given_data_stays_the_same():
    data, part = generated([IMAGE], 9), np.array([2, 7])
    assert np.array_equal(data.subset(part).anew(4).batch(np.arange(2))["x"], data.anew(4).batch(part)["x"])
    given = kinds_of_images(5)
    assert given.anew(3) is given
