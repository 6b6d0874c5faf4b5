"""What is kept back of gradients is owed by any number of workers."""

import numpy as np
import pytest

from pfir.train.distributed.compression.base import LEFT, STEP
from pfir.train.distributed.compression.ecq import ErrorCompensated
from pfir.train.distributed.compression.residuals import divided, dropped
from pfir.train.flat import FlatBuffer
from tests.support.together import together


def states(count):
    random = np.random.default_rng(count)
    return [{LEFT: random.normal(size=50).astype(np.float32), STEP: np.array(7)} for _ in range(count)]


def owed(states):
    return np.mean([state[LEFT] for state in states], axis=0)


@pytest.mark.parametrize("before,after", [(2, 2), (2, 3), (3, 2), (4, 8), (1, 2)])
def test_any_number_of_workers_owes_the_same(before, after):
    given = states(before)
    found = divided(given, after)
    assert len(found) == after and all(state[STEP] == 7 for state in found)
    np.testing.assert_allclose(owed(found), owed(given), atol=1e-6)
    assert before != after or found == given


def test_where_nothing_is_kept_back_nothing_is_owed():
    assert divided([{STEP: np.array(1)}] * 2, 3) == [{STEP: np.array(1)}] * 3


def test_what_is_left_out_is_counted():
    assert dropped(4).startswith("what 4 processes had kept back of compressed gradients is left out")


def test_what_two_and_then_three_workers_sent_and_what_is_left_is_the_sum_of_all_gradients():
    def gradient(rank, step):
        return np.random.default_rng([rank, step]).normal(size=500).astype(np.float32)

    def steps(first, last, before):
        def run(group):
            hook, sent = ErrorCompensated(), np.zeros(500, np.float32)
            if before:
                hook.restore(divided(before, group.count)[group.rank])
            for step in range(first, last):
                buffer = FlatBuffer({"w": gradient(group.rank, step)})
                hook.reduce(buffer, group)
                sent += buffer.views["w"]
            return sent, hook.state()

        return run

    two = together(2, steps(0, 5, None))
    three = together(3, steps(5, 9, [state for _, state in two]))
    means = [np.mean([gradient(rank, step) for rank in range(2 if step < 5 else 3)], axis=0) for step in range(9)]
    left = owed([state for _, state in three])[:500]
    np.testing.assert_allclose(two[0][0] + three[0][0] + left, sum(means), atol=1e-4)
