"""A training that is ended by kill -9 goes on with the same bits."""

from benchmarks.training.kills import STEPS, survive


def test_kills_at_random_steps_change_no_bit():
    found = survive(kills=2, seed=1)
    assert found.same
    assert len(found.killed) == 2 and found.killed[0] < STEPS
    assert all(b >= a for a, b in zip(found.killed, found.resumed[1:], strict=True)), found
