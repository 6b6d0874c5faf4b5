"""The fastest model within a drop of accuracy: bisection over the speed-up, fine-tuning included."""

from __future__ import annotations

import math

from pfir.compile.methods.pricing import Limits
from pfir.compile.run_context import Chosen
from pfir.compile.selection.fitted_search import best_fitted
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, as_it_is, largest_speedup, search_for
from pfir.compile.selection.selection import Selection
from pfir.compile.training.fine_tuning import FineTuned
from pfir.ir.model import Model
from pfir.run.evaluate import accuracy, evaluate

STEPS = 4
"""Speed-ups that are tried."""


def fastest_within(selection: Selection, search_context: SearchContext) -> Chosen:
    """The fastest model found whose quality stays within the drop; the original where nothing faster does."""
    run = selection.run
    floor = _quality(selection, run.models.baseline) - run.request.goals.max_drop / 100
    low, high = 1.0, largest_speedup(search_context)
    best = Chosen((nothing := as_it_is(run.models.start)), FineTuned(nothing.model))
    for step in range(STEPS):
        factor = math.sqrt(low * high)
        part = selection.under(run.plan.part(step, STEPS, selection.elapsed_s))
        with run.stages(f"search for {factor:.2f}x"):
            found = _searched_and_fitted(part, search_context, Limits(search_context.baseline_s / factor), step)
        chosen = part.fine_tuned(found)
        reached = _quality(selection, chosen.fine_tuned.model)
        run.progress.note(f"{factor:.2f}x reaches {_measure(selection)} {reached:.2%}; at least {floor:.2%} is asked")
        if reached >= floor:
            low, best = factor, chosen
        else:
            high = factor
    return best


def _searched_and_fitted(selection: Selection, search_context: SearchContext, limits: Limits, step: int) -> Found:
    plan, workspace = selection.run.plan, selection.workspace
    how = selection.how(workspace.journal(step), plan.choosing_ends(selection.elapsed_s))
    tried = search_for(search_context, limits, how)
    how = selection.how(workspace.journal(step, fitted=True), plan.fitting_ends(selection.elapsed_s))
    return best_fitted(search_context, limits, tried, how)


def _quality(selection: Selection, model: Model) -> float:
    """What `--max-drop` speaks of: accuracy, or by `--metric fidelity` the agreement with the original."""
    data, threads = selection.run.samples.validation, selection.run.request.jobs or 1
    if _measure(selection) == "fidelity":
        return evaluate(model, data, selection.run.models.original, threads).fidelity
    return accuracy(model, data, threads)


def _measure(selection: Selection) -> str:
    return "fidelity" if selection.run.request.metric == "fidelity" else "accuracy"
