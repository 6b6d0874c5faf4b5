"""The fastest model within a drop of accuracy: bisection over the speed-up, fine-tuning included."""

from __future__ import annotations

import math
from dataclasses import replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.precision.layers import FLOATS
from pfir.compile.run_context import Chosen
from pfir.compile.selection.fitted_search import best_fitted
from pfir.compile.selection.search_context import SearchContext, sizing_for
from pfir.compile.selection.searching import Found, as_it_is, largest_speedup, search_for
from pfir.compile.selection.selection import Selection
from pfir.compile.training.fine_tuning import FineTuned
from pfir.ir.model import Model
from pfir.run.evaluate import accuracy, evaluate
from pfir.target import INT8

STEPS = 4
"""Speed-ups that are tried."""


def fastest_within(selection: Selection, search_context: SearchContext) -> Chosen:
    """The fastest model found whose quality stays within the drop; the original where nothing faster does.

    Eight bits, where layers gain by them, come before any channel goes. Those that lose too much alone are given up,
    unless they were asked for.
    """
    run = selection.run
    floor = _quality(selection, run.models.baseline) - run.request.goals.max_drop / 100
    nothing = as_it_is(run.models.start)
    best = selection.quantized(Chosen(nothing, FineTuned(nothing.model)))
    if selection.precision.integers and not _is_within(selection, best, "eight bits", floor):
        if run.request.precision == INT8:
            return best
        selection = replace(selection, precision=FLOATS)
        search_context = search_context.priced(sizing_for(run.request, selection.evaluator))
        best = Chosen(nothing, FineTuned(nothing.model))
    unpruned = selection.evaluator.latency(run.models.start, selection.precision)
    low, high = max(1.0, search_context.baseline_s / unpruned.seconds), largest_speedup(search_context)
    for step in range(STEPS):
        factor = math.sqrt(low * high)
        part = selection.under(run.plan.part(step, STEPS, selection.elapsed_s))
        with run.stages(f"search for {factor:.2f}x"):
            found = _searched_and_fitted(part, search_context, Limits(search_context.baseline_s / factor), step)
        chosen = part.finished(found)
        if _is_within(selection, chosen, f"{factor:.2f}x", floor):
            low, best = factor, chosen
        else:
            high = factor
    return best


def _is_within(selection: Selection, chosen: Chosen, what: str, floor: float) -> bool:
    """Whether a result has the quality that is asked, which is told to the user, too."""
    reached = _quality(selection, chosen.fine_tuned.model)
    said = f"{what} reaches {_measure(selection)} {reached:.2%}; at least {floor:.2%} is asked"
    selection.run.progress.note(said)
    return reached >= floor


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
