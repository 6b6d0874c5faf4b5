import numpy as np
import pytest
from onnx import helper, numpy_helper

from pfir.packing import codecs
from pfir.packing.forms import smallest
from pfir.packing.layout import ALL, BITMAP, GAPS, HALF, PALETTE, PLAIN, PLANES, SMALL, SYMBOLS
from pfir.packing.packing import pack_model
from pfir.passes.codebook.encoding import packed

RNG = np.random.default_rng(0)
FLOATS = RNG.standard_normal(20_000).astype("<f4")
EIGHT = np.clip(np.round(40 * FLOATS), -128, 127) + 0.0  # no negative zeros


def _sparse(values, share, seed=1):
    return np.where(np.random.default_rng(seed).random(len(values)) < share, values, np.float32(0))


CASES = {
    "floats": (FLOATS, ALL, PLANES),
    "float16 as float32": (FLOATS.astype("<f2").astype("<f4"), ALL, HALF),
    "integers as float32": (EIGHT.astype("<f4"), ALL, SMALL),
    "a codebook": (RNG.standard_normal(16).astype("<f4")[RNG.integers(0, 16, 20_000)], ALL, PALETTE),
    "int8": (EIGHT.astype("<i1"), ALL, PLAIN),
    "int8 of five bits": (np.clip(EIGHT, -15, 15).astype("<i1"), ALL, "integers5"),
    "places of three bits": (packed(np.clip(EIGHT // 48 + 4, 0, 7).astype("u1"), 3), ALL, "digits3"),
    "int64": (RNG.integers(0, 10**6, 20_000).astype("<i8"), ALL, PLANES),
    "half of it zero": (_sparse(FLOATS, 0.5), BITMAP, PLANES),
    "nearly all zero": (_sparse(FLOATS, 0.005), GAPS, PLANES),
    "all zero": (np.zeros(20_000, "<f4"), GAPS, PLAIN),
    "one value": (np.full(20_000, 0.1, "<f4"), ALL, PALETTE),
}


def _bits(array):
    return array.view(f"<u{array.itemsize}")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_smallest_form_is_the_one_that_fits(case):
    array, places, values = case
    kept = smallest(_bits(array))
    assert (kept.entry.places, kept.entry.values) == (places, values)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_parts_are_as_long_as_the_directory_will_say(case):
    kept = smallest(_bits(case[0]))
    kept.entry.check()
    assert {name: len(part) for name, part in kept.parts.items()} == kept.entry.streams()


def test_negative_zero_is_a_value():
    array = np.zeros(1000, "<f4")
    array[::2] = -0.0
    kept = smallest(_bits(array))
    assert kept.entry.places == ALL or kept.entry.kept == 500


def test_a_value_that_no_short_form_holds_keeps_the_others_from_it():
    for odd in (np.float32(0.1), np.float32(-0.0), np.float32(np.nan), np.float32(1e9)):
        array = EIGHT.astype("<f4")
        array[7] = odd
        assert smallest(_bits(array)).entry.values != SMALL


def _entropy_bits(array):
    shares = np.unique(array, return_counts=True)[1] / array.size
    return -float(np.sum(shares * np.log2(shares)))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("spread", [0.4, 100.0], ids=["bell", "flat"])
def test_integers_take_no_more_bits_than_they_have(bits, spread):
    most = 2 ** (bits - 1) - 1
    wide = RNG.uniform(-most - 0.5, most + 0.5, 100_000) if spread > 1 else RNG.normal(0, spread * most, 100_000)
    integers = np.clip(np.rint(wide), -most, most).astype("<i1")
    kept = smallest(_bits(integers))
    taken = 8 * sum(len(codecs.compress(part, name in SYMBOLS)[1]) for name, part in kept.parts.items())
    assert taken / integers.size <= min(1.001 * bits, 1.02 * _entropy_bits(integers) + 0.08)


def test_layers_of_other_bits_do_not_share_a_table():
    rng, tensors = np.random.default_rng(5), []
    for bits in (3, 7) * 20:
        most = 2 ** (bits - 1) - 1
        tensors.append(rng.integers(-most, most + 1, 3000).astype(np.int8))
    held = [numpy_helper.from_array(tensor, f"w{i}") for i, tensor in enumerate(tensors)]
    content = helper.make_model(helper.make_graph([], "net", [], [], held)).SerializeToString()
    assert len(pack_model(content)) < 1.05 * sum(t.size * _entropy_bits(t) / 8 for t in tensors)
