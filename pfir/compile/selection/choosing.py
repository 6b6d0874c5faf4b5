"""From the original to the compressed model: by recipe, by fixed choices, by search, or the fastest within a drop."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.replay import recipe_choices, replay
from pfir.compile.run_context import Chosen
from pfir.compile.selection.measured_search import measured_search
from pfir.compile.selection.search_context import SearchContext, search_context_for
from pfir.compile.selection.searching import as_it_is, built_by, check_reachable, kept_as
from pfir.compile.selection.selection import Selection
from pfir.compile.selection.within_drop import fastest_within
from pfir.compile.training.fine_tuning import FineTuned


def choose(selection: Selection) -> Chosen:
    """The compressed model.

    Raises:
        Infeasible: The goals lie beyond what the methods can reach; nothing was tried then.
    """
    run = selection.run
    if run.request.recipe is not None and not run.request.retrain:
        with run.stages("replay"):
            return Chosen(*replay(run.prepared, run.request))
    if not run.prepared.searched:
        return _only_passes(selection)
    if _is_met_already(selection):
        return Chosen((nothing := as_it_is(run.models.start)), FineTuned(nothing.model))
    with run.stages("analyse"):
        search_context = search_context_for(run.prepared, run.request, selection.evaluator, run.samples)
    if run.request.recipe is not None:
        found = kept_as(search_context, recipe_choices(run.prepared, run.request, search_context.pricing.methods))
        return selection.fine_tuned(selection.fitted(search_context, found))
    if search_context.pricing.is_fixed:
        return selection.fine_tuned(selection.fitted(search_context, built_by(search_context, {})))
    return _searched(selection, search_context)


def _only_passes(selection: Selection) -> Chosen:
    """The model as the passes of `--passes` left it, trained if one of them gave up some of the function."""
    found = as_it_is(selection.run.models.start)
    note = "nothing was pruned: --passes names no prune-channels"
    if not selection.run.prepared.is_compressed:
        return Chosen(found, FineTuned(found.model), (note,))
    return selection.fine_tuned(found)


def _is_met_already(selection: Selection) -> bool:
    """Whether the original keeps the only limit, one of latency, and the user fixed no choice."""
    request, limits = selection.run.request, selection.limits
    is_fixed = request.recipe is not None or not any(p.is_open for p in selection.run.prepared.searched)
    if is_fixed or request.goals.latency_s is None or limits != Limits(limits.latency_s):
        return False
    return selection.evaluator.latency(selection.run.models.baseline).seconds <= limits.latency_s


def _searched(selection: Selection, search_context: SearchContext) -> Chosen:
    run = selection.run
    with run.stages("rank branches"):
        search_context = search_context.ranked(run.plan.ranking_ends(selection.elapsed_s))
    check_reachable(search_context, selection.limits)
    if selection.limits == Limits():
        return fastest_within(selection, search_context)
    found, notes = measured_search(selection, search_context)
    chosen = selection.fine_tuned(found)
    return replace(chosen, notes=(*notes, *chosen.notes))
