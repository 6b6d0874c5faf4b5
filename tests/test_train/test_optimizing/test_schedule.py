"""The learning rate follows its curve."""

import numpy as np
import pytest

from pfir.train.optimizing.schedule import SCHEDULES, Schedule


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    schedule = Schedule(0.4, warmup_share=0.25)
    rates = [schedule.rate(p) for p in np.linspace(0, 1, 101)]
    assert rates[25] == pytest.approx(0.4) and rates[100] == pytest.approx(0)
    assert all(a < b for a, b in zip(rates[:25], rates[1:26], strict=True))
    assert all(a > b for a, b in zip(rates[25:-1], rates[26:], strict=True))


def test_half_way_down_the_rate_is_half():
    assert Schedule(0.4, warmup_share=0).rate(0.5) == pytest.approx(0.2)


def test_a_step_schedule_falls_at_its_milestones_and_a_constant_one_never():
    step = Schedule(0.4, 0.1, "step", milestones=(0.5, 0.8), factor=0.5)
    assert [step.rate(p) for p in (0.1, 0.49, 0.5, 0.79, 0.8, 1.0)] == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1, 0.1])
    constant = Schedule(0.4, 0.1, "constant")
    assert [constant.rate(p) for p in (0.1, 0.5, 1.0)] == [0.4, 0.4, 0.4]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_warms_up(kind):
    schedule = Schedule(0.4, 0.2, kind)
    assert schedule.rate(0) == pytest.approx(0.002) and schedule.rate(0.1) == pytest.approx(0.2)
