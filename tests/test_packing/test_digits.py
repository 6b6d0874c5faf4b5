import numpy as np
import pytest

from pfir.packing.digits import digits, joined
from pfir.passes.codebook.encoding import packed


@pytest.mark.parametrize("bits", range(1, 9))
def test_numbers_of_few_bits_come_out_of_bytes_and_go_back(bits):
    content = np.random.default_rng(bits).integers(0, 256, 40 * bits).astype(np.uint8)
    numbers = digits(content, bits)
    assert len(numbers) == 320 and numbers.max() < 2**bits
    assert np.array_equal(joined(numbers, bits), content)


@pytest.mark.parametrize("bits", (3, 5, 6, 7))
def test_they_are_the_places_that_a_codebook_packs(bits):
    places = np.random.default_rng(bits).integers(0, 2**bits, 800).astype(np.uint8)
    assert np.array_equal(digits(packed(places, bits), bits), places)
