"""What a worker makes of the settings of all."""

import pytest

from pfir.train.distributed.worker import LEAST_S, shared
from pfir.train.settings import Settings


def test_what_it_took_to_start_comes_out_of_the_time_budget():
    assert shared(Settings(time_budget_s=60.0), 2, 4.0).time_budget_s == 56.0
    assert shared(Settings(time_budget_s=3.0), 2, 4.0).time_budget_s == LEAST_S
    assert shared(Settings(), 2, 4.0).time_budget_s is None


@pytest.mark.parametrize("count,batch", [(1, 30), (2, 30), (4, 32)])
def test_a_batch_grows_until_all_can_share_it(count, batch):
    assert shared(Settings(batch=30), count, 0.0).batch == batch
