from pathlib import Path

import pytest

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
