"""A deadline ends optional work between two batches, and one that does not exist never does."""

from types import SimpleNamespace

import pytest

from pfir.compile import deadline
from pfir.compile.deadline import NEVER, Deadline
from pfir.errors import OutOfTime


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until a test moves it: `clock.now`."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_a_deadline_passes_when_its_seconds_are_over(clock):
    ends = Deadline.within(5.0)
    assert not ends.passed and ends.left_s() == 5.0
    clock.now += 5.0
    assert ends.passed and ends.left_s() == 0.0
    with pytest.raises(OutOfTime, match="--time-budget"):
        ends.check()


def test_the_deadline_never_does_not_pass(clock):
    clock.now = 1e12
    NEVER.check()
    assert not NEVER.passed and Deadline.within(None) == NEVER


def test_of_two_deadlines_the_sooner_counts(clock):
    assert Deadline.within(5.0).sooner(3.0).left_s() == 3.0
    assert Deadline.within(5.0).sooner(9.0).left_s() == 5.0
    assert NEVER.sooner(None) == NEVER


def test_guarded_activations_end_between_two_batches(clock):
    seen = []

    def batches(model, names):
        for number in range(4):
            clock.now += 1.0
            yield number

    with pytest.raises(OutOfTime):
        for number in Deadline.within(2.5).guard(batches)(None, ["x"]):
            seen.append(number)
    assert seen == [0, 1, 2]
