import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.search.optimizers import Optimizer
from tests.test_search.problems import SPACE


def loss(parameters):
    return sum((r - 0.2) ** 2 for r in parameters.values())


def asked(optimizer, count):
    found = []
    for _ in range(count):
        parameters, handle = optimizer.ask()
        optimizer.tell(handle, loss(parameters))
        found.append(parameters)
    return found


def test_warm_starts_come_first():
    starts = [dict.fromkeys(SPACE.names, 0.1), dict.fromkeys(SPACE.names, 0.8)]
    for start, found in zip(starts, asked(Optimizer(SPACE, warm_starts=starts), 2), strict=True):
        assert found == pytest.approx(start)


def test_candidates_stay_in_their_ranges_and_get_better():
    found = asked(Optimizer(SPACE, trials=100), 100)
    assert all(p.low <= c[p.name] <= p.high for c in found for p in SPACE.parameters)
    assert min(map(loss, found)) < 0.2 * loss(found[0])


def test_a_seed_gives_the_same_candidates():
    assert asked(Optimizer(SPACE, 7), 10) == asked(Optimizer(SPACE, 7), 10)
    assert asked(Optimizer(SPACE, 7), 10) != asked(Optimizer(SPACE, 8), 10)


@pytest.mark.parametrize("name", ["", "TBPSA", "CMA"])
def test_it_learns_from_candidates_that_it_did_not_propose(name):
    taught = Optimizer(SPACE, 7, 40, name=name)
    for parameters in asked(Optimizer(SPACE, 8, 20), 20):
        taught.learn(parameters, loss(parameters))
    assert np.isfinite(sum(map(loss, asked(taught, 5))))


def test_failures_are_told_worse_than_all_and_never_infinite():
    optimizer = Optimizer(SPACE)
    told = []
    optimizer._optimizer.tell = lambda handle, value: told.append(value)
    for value in (None, 3.0, 5.0, float("inf"), float("nan"), None):
        optimizer.tell(optimizer.ask()[1], value)
    assert np.isfinite(told).all()
    assert min(told[3:]) > 5.0


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(UsageError, match="NoSuch"):
        Optimizer(SPACE, name="NoSuch")


def test_a_warm_start_that_lacks_a_parameter_is_refused():
    with pytest.raises(UsageError, match="lacks the parameter g1"):
        Optimizer(SPACE, warm_starts=[{"g0": 0.1}])
