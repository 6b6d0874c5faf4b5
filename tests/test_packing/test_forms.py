import numpy as np
import pytest

from pfir.packing.forms import smallest
from pfir.packing.layout import ALL, BITMAP, GAPS, HALF, PALETTE, PLAIN, PLANES, SMALL

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
