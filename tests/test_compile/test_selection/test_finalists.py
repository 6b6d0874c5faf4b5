"""The finalists of a search begin with the best, keep its order, and hold no twins."""

import pytest

from pfir.compile.selection.finalists import DISTANCE, MOST, finalists
from pfir.search import Trial


def trial(number, score, *ratios, cost=1.0):
    parameters = {f"ratio:g{i}": r for i, r in enumerate(ratios)}
    return Trial(number, parameters, parameters, cost, score)


def test_the_best_comes_first_and_the_rest_in_the_order_of_their_scores():
    trials = [trial(0, -3.0, 0.1, 0.1), trial(1, -1.0, 0.5, 0.5), trial(2, -2.0, 0.9, 0.1)]
    assert [t.number for t in finalists(trials)] == [1, 2, 0]


def test_a_near_twin_of_a_better_one_is_left_out():
    trials = [trial(0, -1.0, 0.5, 0.5), trial(1, -1.1, 0.5, 0.5 + DISTANCE), trial(2, -9.0, 0.5, 0.5 + 2.1 * DISTANCE)]
    assert [t.number for t in finalists(trials)] == [0, 2]


def test_there_are_not_more_than_asked():
    assert len(finalists([trial(i, -float(i), i / 10) for i in range(10)])) == MOST


def test_failed_trials_take_no_part():
    assert [t.number for t in finalists([trial(0, None, 0.1), trial(1, -5.0, 0.9)])] == [1]


@pytest.mark.parametrize("costs", [(1.0, 0.5), (0.5, 1.0)])
def test_of_equals_the_cheaper_is_first(costs):
    trials = [trial(i, -1.0, 0.5 * i, cost=cost) for i, cost in enumerate(costs)]
    assert finalists(trials)[0].cost == min(costs)
