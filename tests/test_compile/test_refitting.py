"""Fitting chooses among finalists by what they are worth afterwards, and leaves alone what it cannot better."""

from dataclasses import replace

import numpy as np
import pytest

from pfir.compile import refitting
from pfir.compile.refitting import best_fitted
from pfir.compile.searching import kept_as
from pfir.report.progress import Silent
from tests.test_compile.ground import ground

LONG = 1e9


@pytest.fixture(scope="module")
def found(model, data):
    return ground(model, data=data)


@pytest.fixture(scope="module")
def candidates(found):
    """One that lost little, then one that lost most of a group."""
    return kept_as(found, {"Conv_4": np.arange(2)}), kept_as(found, {"Conv_7": np.arange(28)})


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_the_one_that_is_nearest_in_the_end_is_chosen(found, candidates, order):
    best = best_fitted(found, candidates[order], LONG, 0, Silent())
    reached = refitting._divergence(found, best.model)
    assert best.widths == candidates[0].widths
    assert all(reached <= refitting._divergence(found, c.model) for c in candidates)


def test_the_given_candidates_are_not_changed(found, candidates):
    before = [c.model.to_bytes() for c in candidates]
    best_fitted(found, candidates, LONG, 0, Silent())
    assert [c.model.to_bytes() for c in candidates] == before


def test_without_time_the_first_stays_as_it_is(found, candidates):
    assert best_fitted(found, candidates, 0.0, 0, Silent()) is candidates[0]


def test_what_is_whole_is_not_fitted(found):
    whole = replace(kept_as(found, {}), removed={})
    assert best_fitted(found, (whole,), LONG, 0, Silent()) is whole


def test_fitting_that_makes_it_worse_is_dropped(found, candidates, monkeypatch):
    def wreck(model, *_):
        model.set_arrays({n: np.zeros_like(t.values) for n, t in model.initializers().items()})

    monkeypatch.setattr(refitting, "refit", wreck)
    assert best_fitted(found, candidates, LONG, 0, Silent()) is candidates[0]
