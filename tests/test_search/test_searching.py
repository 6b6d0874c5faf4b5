import pytest

from pfir.errors import Infeasible, OutOfTime, UsageError
from pfir.search import Problem, Settings, search
from tests.test_search import problems
from tests.test_search.problems import SPACE, broken_score, cost, problem, score, snap

UNIFORM = dict.fromkeys(SPACE.names, 0.3)


def plain(trials):
    return [(t.number, t.asked, t.parameters, t.cost, t.score) for t in trials]


def test_every_trial_meets_the_limit_and_the_best_beats_the_first():
    result = search(problem(warm_starts=(UNIFORM,)), Settings(40))
    assert len(result.trials) == 40 and all(t.cost <= 0.5 for t in result.trials)
    assert result.best.score > result.trials[0].score
    assert result.best in result.pareto


def test_a_seed_gives_the_same_trials():
    one, two = (search(problem(), Settings(10, seed=3)).trials for _ in range(2))
    assert plain(one) == plain(two)


def test_a_search_that_was_interrupted_goes_on_as_if_it_was_not(tmp_path):
    whole = search(problem(), Settings(12))
    calls = []

    def interrupted(parameters):
        calls.append(parameters)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return score(parameters)

    with pytest.raises(KeyboardInterrupt):
        search(problem(interrupted), Settings(12), tmp_path / "j")
    told = []
    resumed = search(problem(), Settings(12), tmp_path / "j", told.append)
    assert plain(resumed.trials) == plain(whole.trials)
    assert [t.number for t in told] == list(range(5, 12))


def test_a_finished_search_is_read_from_its_journal(tmp_path):
    first = search(problem(), Settings(5), tmp_path / "j")
    assert search(problem(broken_score), Settings(5), tmp_path / "j") == first


def test_another_problems_journal_is_refused(tmp_path):
    search(problem(), Settings(2), tmp_path / "j")
    with pytest.raises(UsageError, match="another problem"):
        search(Problem(SPACE, cost, 0.5, score, fingerprint="other"), Settings(2), tmp_path / "j")


def test_a_candidate_that_was_built_before_neither_counts_nor_costs():
    scored = []

    def counted(parameters):
        scored.append(tuple(parameters.values()))
        return score(parameters)

    result = search(problem(counted, snap=snap, warm_starts=(UNIFORM, UNIFORM)), Settings(30))
    assert len(scored) == len(set(scored)) == 30 == len(result.trials)
    assert [t.number for t in result.trials] == list(range(30))


def test_a_space_whose_candidates_were_all_built_ends_the_search():
    def coarse(parameters):
        return {n: 0.9 if r > 0.45 else 0.0 for n, r in parameters.items()}

    result = search(problem(limit=None, snap=coarse), Settings(200))
    assert 12 <= len(result.trials) <= 16
    assert len({tuple(t.parameters.values()) for t in result.trials}) == len(result.trials)


def test_several_jobs_give_the_same_trials_whoever_finishes_first(tmp_path):
    one, two = (search(problem(s, snap=snap), Settings(8, jobs=2)).trials for s in (score, problems.uneven_score))
    assert plain(one) == plain(two)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_search_cut_anywhere_goes_on_as_if_it_was_not(jobs, tmp_path):
    whole = search(problem(snap=snap), Settings(12, jobs=jobs), tmp_path / "whole")
    lines = (tmp_path / "whole").read_bytes().splitlines(keepends=True)
    (tmp_path / "j").write_bytes(b"".join(lines[:7]))
    told = []
    resumed = search(problem(snap=snap), Settings(12, jobs=jobs), tmp_path / "j", told.append)
    assert plain(resumed.trials) == plain(whole.trials)
    assert len(told) == 6


def test_failed_trials_are_told_and_kept():
    result = search(problem(problems.refusing_score), Settings(20))
    failed = [t for t in result.trials if t.score is None]
    assert failed and all(t.details["failed"] == "too thin" for t in failed)
    assert result.best.score is not None


def test_several_jobs_survive_a_dying_worker(tmp_path):
    result = search(problem(problems.dying_score), Settings(8, jobs=2), tmp_path / "j")
    assert [t.number for t in result.trials] == list(range(8))
    assert any(t.score is None for t in result.trials) and result.best.score is not None
    assert len(search(problem(problems.dying_score), Settings(8, jobs=2), tmp_path / "j").trials) == 8


def test_a_time_budget_ends_the_search_after_at_least_one_trial():
    assert len(search(problem(problems.slow_score), Settings(50, time_budget_s=0)).trials) == 1
    assert 1 < len(search(problem(problems.slow_score), Settings(1000, time_budget_s=0.3)).trials) < 100


def test_without_a_limit_candidates_are_taken_as_asked():
    result = search(problem(limit=None), Settings(4))
    assert all(t.parameters == t.asked for t in result.trials)


def test_a_limit_out_of_reach_is_told_before_any_trial():
    with pytest.raises(Infeasible, match="reachable range"):
        search(problem(broken_score, limit=0.001), Settings(4))


def test_a_search_whose_trials_all_fail_says_why():
    def refused(parameters):
        raise Infeasible("never")

    with pytest.raises(Infeasible, match="all 3 candidates failed; the first: never"):
        search(problem(refused), Settings(3))


def test_a_fault_in_a_score_ends_the_search():
    with pytest.raises(ZeroDivisionError):
        search(problem(broken_score), Settings(3))


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"jobs": 0}, {"time_budget_s": -1}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        Settings(**wrong)


@pytest.mark.parametrize("finished", [1, 5])
def test_a_score_that_is_out_of_time_ends_the_search_without_its_trial(finished, tmp_path):
    calls = []

    def late(parameters):
        calls.append(parameters)
        if len(calls) > finished:
            raise OutOfTime("the time budget is spent")
        return score(parameters)

    result = search(problem(late), Settings(20), tmp_path / "j")
    assert plain(result.trials) == plain(search(problem(), Settings(20)).trials[: len(result.trials)])
    assert len([t for t in result.trials if "same_as" not in t.details]) == finished
    assert len((tmp_path / "j").read_text().splitlines()) == 1 + len(result.trials)


def test_the_first_candidate_out_of_time_is_the_verdict_on_the_search():
    def late(parameters):
        raise OutOfTime("the time budget is spent")

    with pytest.raises(OutOfTime):
        search(problem(late), Settings(3))
