import numpy as np

from pfir.search.pareto import best, pareto
from pfir.search.problem import Trial


def trials(*pairs):
    return [Trial(i, {}, {}, cost, score) for i, (cost, score) in enumerate(pairs)]


def test_the_front_holds_what_nothing_beats():
    rng = np.random.default_rng(0)
    every = trials(*rng.integers(0, 20, (60, 2)).tolist())
    front = pareto(every)
    for trial in every:
        beaten = any(t.cost <= trial.cost and t.score >= trial.score and t.number != trial.number for t in front)
        assert beaten or trial in front
    assert [t.cost for t in front] == sorted({t.cost for t in front})


def test_failed_trials_are_left_out():
    assert pareto(trials((1.0, None), (2.0, 1.0)))[0].number == 1
    assert best(trials((1.0, None))) is None


def test_the_best_has_the_highest_score_then_the_lowest_cost():
    assert best(trials((3.0, 1.0), (2.0, 1.0), (1.0, 0.5))).number == 1
