import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from pfir.compile import deadline
from pfir.compile.plan import plan
from pfir.compile.request import Goals, Request


def _request(**options):
    return Request(Path("m.onnx"), "arm", Goals(speedup=2.0), Path("out"), **options)


@pytest.mark.parametrize("seconds", [60.0, 600.0, 7200.0])
def test_search_and_rest_leave_most_of_the_time_for_training(seconds):
    found = plan(_request(time_budget_s=seconds))
    assert found.training_s(found.search_s) >= 0.4 * seconds


def test_what_the_user_fixed_stays_fixed():
    found = plan(_request(trials=7, epochs=3))
    assert (found.trials, found.search_s, found.epochs, found.training_s(0)) == (7, None, 3, None)
    assert "7 trials" in found.text() and "3 epochs" in found.text()


def test_no_epochs_means_no_training():
    assert "no fine-tuning" in plan(_request(epochs=0)).text()


def test_the_default_budget_is_ten_minutes():
    assert plan(_request()).text().startswith("plan: 10 min")


def test_a_budget_that_is_spent_leaves_nothing():
    assert plan(_request()).training_s(1e6) == 0.0


@pytest.fixture
def still(monkeypatch):
    """The clock stands."""
    monkeypatch.setattr(deadline, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.mark.parametrize("seconds", [60.0, 600.0, 7200.0])
@pytest.mark.parametrize("elapsed", [0.0, 15.0])
def test_whatever_comes_before_training_ends_while_a_third_of_the_time_is_left_for_it(seconds, elapsed, still):
    found = plan(_request(time_budget_s=seconds))
    for ends in (found.choosing_ends(elapsed), found.ranking_ends(elapsed), found.fitting_ends(elapsed)):
        assert found.training_s(elapsed + ends.left_s()) >= 0.34 * seconds


@pytest.mark.parametrize("steps", [1, 4])
def test_each_round_of_several_has_its_own_reserve(steps, still):
    whole = plan(_request(time_budget_s=600.0))
    part = whole.part(0, steps, 0.0)
    left = part.training_s(part.choosing_ends(0.0).left_s())
    assert 0.3 * (600.0 - whole.rest_s) / steps <= left < part.total_s <= 600.0


def test_a_plan_whose_trials_and_epochs_are_fixed_has_no_deadline():
    found = plan(_request(trials=7, epochs=3, time_budget_s=60.0))
    assert not found.clocked and found.left_s(1e9) is None
    for ends in (found.choosing_ends(1e9), found.ranking_ends(1e9), found.fitting_ends(1e9)):
        assert ends.left_s() == math.inf


@pytest.mark.parametrize("fixed", [{"trials": 7}, {"epochs": 3}, {"epochs": 0}, {}])
def test_a_plan_that_leaves_trials_or_epochs_open_is_held_to_the_clock(fixed):
    assert plan(_request(**fixed)).clocked
