import pytest

from pfir.errors import PfirError
from pfir.search.executors import Outcome, executor, outcome_of
from tests.test_search.problems import SPACE, broken_score, dying_score, refusing_score, score

LOW, HIGH = (dict.fromkeys(SPACE.names, r) for r in (0.1, 0.8))


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def unpicklable_score(parameters):
    raise Unpicklable("odd", "error")


def outcomes(scoring, jobs, *candidates):
    workers, found = executor(scoring, jobs), {}
    try:
        for number, candidate in enumerate(candidates):
            if not workers.free():
                found |= dict(workers.finished())
            workers.submit(number, candidate)
        while done := workers.finished():
            found |= dict(done)
    finally:
        workers.close()
    return found


@pytest.mark.parametrize("jobs", [1, 2])
def test_scores_come_back_with_their_details(jobs):
    found = outcomes(score, jobs, LOW, HIGH, LOW)
    assert sorted(found) == [0, 1, 2]
    assert (found[1].score, found[1].details) == score(HIGH)
    assert found[0].score == found[2].score == score(LOW)[0]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_verdict_is_a_failed_trial(jobs):
    found = outcomes(refusing_score, jobs, HIGH, LOW)
    assert found[0].score is None and found[0].details == {"failed": "too thin"}
    assert found[1].score is not None


def test_a_process_that_dies_fails_its_own_trial_only():
    found = outcomes(dying_score, 2, LOW, HIGH, LOW)
    assert "died with exit code 3" in found[1].details["failed"]
    assert found[0].score is not None and found[2].score is not None


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_fault_in_a_score_goes_up(jobs):
    with pytest.raises(ZeroDivisionError, match="ours"):
        outcomes(broken_score, jobs, LOW)


def test_a_fault_that_cannot_travel_goes_up_as_text():
    with pytest.raises(PfirError, match="Unpicklable: odd"):
        outcomes(unpicklable_score, 2, LOW)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_a_failed_trial(value):
    found = outcome_of(lambda _: value, LOW)
    assert found.score is None and "its score is" in found.details["failed"]


def test_without_work_there_is_no_outcome():
    assert outcomes(score, 1) == outcomes(score, 2) == {}
    assert Outcome(1.0) == Outcome(1.0)
