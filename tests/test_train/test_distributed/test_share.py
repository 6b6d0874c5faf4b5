"""Shares: together they are the batch."""

import numpy as np
import pytest

from pfir.train.distributed.share import WHOLE, Share, divisible


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_follow_one_another_and_make_up_the_batch(count):
    batch = np.random.default_rng(0).permutation(12)
    assert np.array_equal(np.concatenate([Share(rank, count).of(batch) for rank in range(count)]), batch)


def test_one_worker_takes_all():
    assert WHOLE.of(np.arange(5)).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("batch,count,expected", [(32, 4, 32), (32, 3, 33), (2, 8, 8)])
def test_a_batch_grows_until_workers_can_share_it(batch, count, expected):
    assert divisible(batch, count) == expected
