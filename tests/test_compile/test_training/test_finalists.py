"""How long finalists are trained, and which of them goes on."""

import pytest

from pfir.compile.training.finalists import LEAST_S, LEAST_STEPS, MARGIN, MOST, SHARE, short_training, winner
from pfir.report.record import Finalist
from pfir.train.settings import Settings


def finalist(divergence, place=1):
    return Finalist(place, 1.0, divergence, 0.9, 100)


@pytest.mark.parametrize("epochs", [1, 4, 30, 200])
@pytest.mark.parametrize("samples", [400, 4000, 45_000])
def test_by_epochs_a_short_training_takes_its_share_at_most_and_is_long_enough(epochs, samples):
    settings = Settings(epochs=epochs, batch=32)
    steps = epochs * (samples // 32)
    found = short_training(8, settings, samples)
    if found is None:
        assert SHARE * steps < 2 * LEAST_STEPS
        return
    assert 2 <= found.count <= MOST and found.steps >= LEAST_STEPS and found.seconds is None
    assert found.count * found.steps <= SHARE * steps


@pytest.mark.parametrize("seconds", [10.0, 100.0, 1000.0])
def test_by_the_clock_it_takes_its_share_at_most(seconds):
    found = short_training(3, Settings(time_budget_s=seconds), 400)
    assert (found is None) == (SHARE * seconds < 2 * LEAST_S)
    if found is not None:
        assert found.count <= 3 and found.seconds >= LEAST_S
        assert found.count * found.seconds <= SHARE * seconds + 1e-9


def test_one_finalist_is_compared_with_nothing():
    assert short_training(1, Settings(epochs=200), 45_000) is None
    assert short_training(1, Settings(time_budget_s=1e4), 45_000) is None


def test_the_first_goes_on_unless_another_is_nearer_by_the_margin():
    assert winner([finalist(0.10), finalist(0.10 * (1 - MARGIN / 2))]) == 0
    assert winner([finalist(0.10), finalist(0.09), finalist(0.08)]) == 2
    assert winner([finalist(0.10), finalist(0.08), finalist(0.08)]) == 1
