"""Half precision: near the mean at any magnitude."""

import numpy as np
import pytest

from pfir.train.distributed.compression.half import Half
from pfir.train.flat import FlatBuffer
from tests.support.together import together


def reduced(values):
    """The mean of `values[rank]` over as many workers, as the first one gets it, and the bytes it sent."""

    def run(group):
        buffer = FlatBuffer({"w": values[group.rank]})
        Half().reduce(buffer, group)
        return buffer.views["w"].copy(), group.sent_bytes

    return together(len(values), run)[0]


@pytest.mark.parametrize("magnitude", [1e-30, 1e-6, 1.0, 1e6, 1e30])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_mean_is_right_to_eleven_bits_at_any_magnitude(magnitude, count):
    values = (np.random.default_rng(0).normal(size=(count, 500)) * magnitude).astype(np.float32)
    found, sent = reduced(values)
    np.testing.assert_allclose(found, values.mean(0), atol=3e-3 * magnitude)
    assert sent == 2 * 512


def test_zeros_stay_zeros():
    assert not reduced(np.zeros((2, 10), np.float32))[0].any()


def test_what_is_not_finite_in_one_worker_is_so_in_all():
    values = np.ones((2, 10), np.float32)
    values[1, 3] = np.nan
    assert np.isnan(reduced(values)[0]).all()
