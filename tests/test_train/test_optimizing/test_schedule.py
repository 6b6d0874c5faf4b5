"""The learning rate follows its curve."""

import numpy as np
import pytest

from pfir.train.optimizing.schedule import Schedule


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    schedule = Schedule(0.4, warmup_share=0.25)
    rates = [schedule.rate(p) for p in np.linspace(0, 1, 101)]
    assert rates[25] == pytest.approx(0.4) and rates[100] == pytest.approx(0)
    assert all(a < b for a, b in zip(rates[:25], rates[1:26], strict=True))
    assert all(a > b for a, b in zip(rates[25:-1], rates[26:], strict=True))


def test_half_way_down_the_rate_is_half():
    assert Schedule(0.4, warmup_share=0).rate(0.5) == pytest.approx(0.2)
