"""Packing gives back the digits, in fewer bytes than there are digits."""

import numpy as np
import pytest

from pfir.train.distributed.compression.packing import digits_per_byte, packed, unpacked


@pytest.mark.parametrize("base", [2, 3, 5, 7, 15, 255])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 1001])
def test_digits_come_back(base, count):
    digits = np.random.default_rng(0).integers(0, base, count).astype(np.uint8)
    assert np.array_equal(unpacked(packed(digits, base), count, base), digits)


@pytest.mark.parametrize("base,count", [(2, 8), (3, 5), (5, 3), (16, 2), (255, 1)])
def test_a_byte_holds_as_many_digits_as_fit(base, count):
    assert digits_per_byte(base) == count


def test_digits_that_are_mostly_one_take_less_than_their_share_of_bytes():
    digits = np.random.default_rng(0).choice(3, 50_000, p=[0.1, 0.8, 0.1]).astype(np.uint8)
    assert len(packed(digits, 3)) < 0.75 * len(digits) / 5
