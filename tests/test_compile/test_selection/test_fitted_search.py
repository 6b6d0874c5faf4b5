"""The second search ranks candidates by what they are worth once fitted, and leaves alone what it cannot better."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pfir.compile.deadline import NEVER
from pfir.compile.methods.pricing import Limits
from pfir.compile.plan import plan
from pfir.compile.selection.fitted_search import Fitting, best_fitted, fitted_if_nearer
from pfir.compile.selection.searching import SearchRun
from pfir.errors import OutOfTime
from pfir.passes.pruning.prune_channels import RATIO
from pfir.report.progress import Silent
from pfir.report.record import Trial
from pfir.run.memo import Memo
from tests.support.jobs import request
from tests.test_compile.test_selection.search_context import search_context, without

TRIALS = 12


@pytest.fixture(scope="module")
def found(model, data):
    return search_context(model, data=data)


@pytest.fixture(scope="module")
def candidates(found):
    """Two that fitting brings nearer."""
    return candidate(found, {"Conv_4": np.arange(12)}), candidate(found, {"Conv_1": np.arange(4)})


def candidate(found, removed):
    built = without(found, removed)
    ratios = {RATIO + g: 1 - after / before for g, (before, after) in built.changes.items()}
    return replace(built, parameters=ratios)


def asked(model, hours=100.0):
    wanted = request(model, Path("unused"), trials=TRIALS)
    return replace(plan(wanted), fitting_s=3600 * hours), wanted


def best(found, candidates, model, folder, hours=100.0, keeps=lambda c: True):
    limits = Limits(found.baseline_s / 1.1)
    first = replace(candidates[0], finalists=tuple(c.parameters for c in candidates))
    plan_, wanted = asked(model, hours)
    return best_fitted(found, limits, first, SearchRun(plan_, wanted, folder / "fitted.jsonl", Silent()), keeps)


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_none_of_the_finalists_would_be_nearer(found, candidates, model, tmp_path, order):
    chosen = best(found, candidates[order], model, tmp_path)
    fitting = Fitting(found, Memo(found.calibration, 16), 0)
    reached = fitting.judged(chosen.model, chosen).divergence
    assert found.pricing.latency_s(chosen.parameters) <= found.baseline_s / 1.1
    assert all(reached <= fitting.judged(fitting.fitted(c), c).divergence for c in candidates)


def test_its_trials_are_reported_beside_those_of_the_first_search(found, candidates, model, tmp_path):
    first = replace(candidates[0], trials=(Trial(1.0, 0.5, True),), seconds=1.0)
    chosen = best(found, (first,), model, tmp_path)
    assert 2 < len(chosen.trials) <= 1 + TRIALS
    assert chosen.trials[0] == Trial(1.0, 0.5, False)
    assert sum(trial.chosen for trial in chosen.trials) == 1
    assert chosen.seconds > 1.0


def test_it_goes_on_from_its_journal(found, candidates, model, tmp_path, monkeypatch):
    once = best(found, candidates, model, tmp_path)
    monkeypatch.setattr(Fitting, "__call__", lambda *_: pytest.fail("scored again"))
    assert best(found, candidates, model, tmp_path).model.to_bytes() == once.model.to_bytes()


def test_what_a_device_finds_too_slow_is_passed_over(found, candidates, model, tmp_path):
    fastest = best(found, candidates, model, tmp_path)
    other = best(found, candidates, model, tmp_path, keeps=lambda c: c.changes != fastest.changes)
    assert other.changes != fastest.changes
    first = best(found, candidates, model, tmp_path, keeps=lambda c: False)
    assert first.changes == candidates[0].changes


def test_the_given_candidates_are_not_changed(found, candidates, model, tmp_path):
    before = [c.model.to_bytes() for c in candidates]
    best(found, candidates, model, tmp_path)
    assert [c.model.to_bytes() for c in candidates] == before


def test_without_time_the_first_stays_as_it_is(found, candidates, model, tmp_path):
    assert best(found, candidates, model, tmp_path, hours=0.0).model is candidates[0].model


def test_time_that_ends_within_a_fit_leaves_the_first_as_it_is(found, candidates, model, tmp_path, monkeypatch):
    def late(self, candidate):
        raise OutOfTime("the time budget is spent")

    monkeypatch.setattr(Fitting, "fitted", late)
    assert best(found, candidates, model, tmp_path).model is candidates[0].model
    wanted, _ = asked(model)
    assert fitted_if_nearer(found, candidates[0], wanted, 0, NEVER) is candidates[0]


def test_time_that_ends_in_a_later_trial_leaves_the_best_so_far(found, candidates, model, tmp_path, monkeypatch):
    fitted, calls = Fitting.fitted, []

    def late(self, candidate):
        calls.append(candidate)
        if len(calls) > 2:
            raise OutOfTime("the time budget is spent")
        return fitted(self, candidate)

    monkeypatch.setattr(Fitting, "fitted", late)
    chosen = best(found, candidates, model, tmp_path)
    assert len(chosen.trials) == 1 and chosen.model is not candidates[0].model


def test_what_is_whole_is_not_fitted(found, model, tmp_path):
    whole = candidate(found, {})
    assert best(found, (whole,), model, tmp_path).model is whole.model


def test_fitting_that_makes_it_worse_is_dropped(found, candidates, model, tmp_path, monkeypatch):
    def wreck(model, *_, **__):
        model.set_arrays({n: np.zeros_like(t.values) for n, t in model.initializers().items()})

    monkeypatch.setattr("pfir.compile.methods.channels.refit", wreck)
    assert best(found, candidates, model, tmp_path).model is candidates[0].model
