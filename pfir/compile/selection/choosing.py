"""From the original to the compressed model: by recipe, by fixed ratios, by search, or the fastest within a drop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.pricing import Limits
from pfir.compile.replay import read_removal, replay
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.selection.fitted_search import best_fitted, fitted_if_nearer
from pfir.compile.selection.searching import (
    Found,
    SearchContext,
    as_it_is,
    check_reachable,
    fixed_choice,
    kept_as,
    largest_speedup,
    search_context_for,
    search_for,
    with_branches,
)
from pfir.compile.training.fine_tuning import FineTuned, fine_tune
from pfir.compile.workspace import Workspace
from pfir.errors import Infeasible
from pfir.ir.model import Model
from pfir.run.evaluate import accuracy, evaluate

ROUNDS = 3
"""Searches at most, each with a tighter limit, when a device measures less speed-up than the estimate promised."""
MARGIN = 0.98
STEPS = 4
"""Speed-ups that are tried, by bisection, for the fastest model within a drop."""


def choose(run_context: RunContext, evaluator: Evaluator, limits: Limits, workspace: Workspace) -> Chosen:
    """The compressed model.

    Raises:
        Infeasible: The goals lie beyond what pruning can reach; nothing was tried then.
    """
    request, pruning = run_context.request, run_context.original.pruning
    if request.recipe is not None and not request.retrain:
        with run_context.stages("replay"):
            return Chosen(*replay(run_context.original, request))
    if pruning is None:
        found = as_it_is(run_context.original.start)
        return Chosen(found, FineTuned(found.model), ("nothing was pruned: --passes names no prune-channels",))
    if _is_met_already(run_context, evaluator, limits):
        return Chosen((nothing := as_it_is(run_context.original.start)), FineTuned(nothing.model))
    with run_context.stages("analyse"):
        search_context = search_context_for(run_context.original, pruning, request, evaluator, run_context.samples)
    if request.recipe is not None:
        found = _fitted(
            run_context, search_context, kept_as(search_context, read_removal(run_context.original, request))
        )
        return _fine_tuned(run_context, search_context, found, workspace)
    if pruning.ratio is not None or pruning.ratios or pruning.macs is not None:
        return _fine_tuned(
            run_context,
            search_context,
            _fitted(run_context, search_context, fixed_choice(search_context, pruning)),
            workspace,
        )
    with run_context.stages("rank branches"):
        search_context = with_branches(search_context, run_context.plan.ranking_ends(run_context.stages.elapsed_s))
    check_reachable(search_context, limits)
    if limits == Limits():
        return _fastest_within(run_context, evaluator, search_context, workspace)
    found, notes = _search(run_context, evaluator, search_context, limits, workspace)
    chosen = _fine_tuned(run_context, search_context, found, workspace)
    return replace(chosen, notes=(*notes, *chosen.notes))


def _is_met_already(run_context: RunContext, evaluator: Evaluator, limits: Limits) -> bool:
    """Whether the original keeps the only limit, one of latency, and the user fixed no choice."""
    request, pruning = run_context.request, run_context.original.pruning
    fixed = request.recipe is not None or pruning.ratio is not None or pruning.ratios or pruning.macs is not None
    if fixed or request.goals.latency_s is None or limits != Limits(limits.latency_s):
        return False
    return evaluator.latency(run_context.original.baseline).seconds <= limits.latency_s


def _fitted(run_context: RunContext, search_context: SearchContext, found: Found) -> Found:
    with run_context.stages("fit layers"):
        ends = run_context.plan.fitting_ends(run_context.stages.elapsed_s)
        return fitted_if_nearer(search_context, found, run_context.plan, run_context.request.seed, ends)


@dataclass(frozen=True)
class _Attempt:
    """A search under some limits, and the best candidate's share of the latency that the goals allow."""

    limits: Limits
    found: Found
    excess: float


def _search(
    run_context: RunContext, evaluator: Evaluator, search_context: SearchContext, limits: Limits, workspace: Workspace
) -> tuple[Found, tuple[str, ...]]:
    """Search; where a device measures, search again under a tighter limit until it confirms the best one's speed-up.

    Where none confirms it, the one that came nearest is delivered, and a note says so.
    """
    attempts = _attempts(run_context, evaluator, search_context, limits, workspace)
    nearest = min(attempts, key=lambda a: max(a.excess, 1.0))
    allowed = max(nearest.excess, 1.0)
    notes = () if nearest.excess <= 1 else (_missed(nearest),)

    def keeps(candidate: Found) -> bool:
        return evaluator.excess(candidate.model, run_context.original.baseline) <= allowed

    with run_context.stages("fit layers"):
        journal, ends = workspace.journal(fitted=True), run_context.plan.fitting_ends(run_context.stages.elapsed_s)
        plan, request, limits = run_context.plan, run_context.request, nearest.limits
        fitted = best_fitted(
            search_context, limits, nearest.found, plan, request, journal, run_context.progress, ends, keeps
        )
    return fitted, notes


def _attempts(
    run_context: RunContext, evaluator: Evaluator, search_context: SearchContext, limits: Limits, workspace: Workspace
) -> list[_Attempt]:
    """Searches, the last of which found what keeps the limit when it is measured, or was one too many."""
    attempts: list[_Attempt] = []
    while len(attempts) < ROUNDS:
        number = len(attempts)
        with run_context.stages("search" if not number else f"search again ({number + 1})"):
            ends = run_context.plan.choosing_ends(run_context.stages.elapsed_s)
            try:
                found = search_for(
                    search_context,
                    limits,
                    run_context.plan,
                    run_context.request,
                    workspace.journal(number),
                    run_context.progress,
                    ends,
                )
            except Infeasible:
                if not attempts:
                    raise
                break
        attempts.append(_Attempt(limits, found, evaluator.excess(found.model, run_context.original.baseline)))
        if (excess := attempts[-1].excess) <= 1:
            break
        run_context.progress.note(f"measured, it takes {excess:.2f} times what is allowed; the limit is tightened")
        limits = replace(limits, latency_s=limits.latency_s / excess * MARGIN)
    return attempts


def _missed(nearest: _Attempt) -> str:
    return (
        f"The device measured {nearest.excess:.2f} times the latency that the goal allows for the best candidate; "
        "no narrower one was confirmed. This one came nearest."
    )


def _fastest_within(
    run_context: RunContext, evaluator: Evaluator, search_context: SearchContext, workspace: Workspace
) -> Chosen:
    """Bisection over the speed-up, fine-tuning included; the original where nothing faster stays within the drop."""
    floor = _quality(run_context, run_context.original.baseline) - run_context.request.goals.max_drop / 100
    low, high = 1.0, largest_speedup(search_context)
    best = Chosen((nothing := as_it_is(run_context.original.start)), FineTuned(nothing.model))
    for step in range(STEPS):
        factor = math.sqrt(low * high)
        part = replace(run_context, plan=run_context.plan.part(step, STEPS, run_context.stages.elapsed_s))
        with run_context.stages(f"search for {factor:.2f}x"):
            found = _searched_and_fitted(
                part, search_context, Limits(search_context.baseline_s / factor), workspace, step
            )
        chosen = _fine_tuned(part, search_context, found, workspace)
        reached = _quality(run_context, chosen.fine_tuned.model)
        run_context.progress.note(
            f"{factor:.2f}x reaches {_measure(run_context)} {reached:.2%}; at least {floor:.2%} is asked"
        )
        if reached >= floor:
            low, best = factor, chosen
        else:
            high = factor
    return best


def _searched_and_fitted(
    run_context: RunContext, search_context: SearchContext, limits: Limits, workspace: Workspace, step: int
) -> Found:
    plan, request, progress = run_context.plan, run_context.request, run_context.progress
    ends = plan.choosing_ends(run_context.stages.elapsed_s)
    tried = search_for(search_context, limits, plan, request, workspace.journal(step), progress, ends)
    ends = plan.fitting_ends(run_context.stages.elapsed_s)
    return best_fitted(
        search_context, limits, tried, plan, request, workspace.journal(step, fitted=True), progress, ends
    )


def _quality(run_context: RunContext, model: Model) -> float:
    """What `--max-drop` speaks of: accuracy, or by `--metric fidelity` the agreement with the original."""
    data, threads = run_context.samples.validation, run_context.request.jobs or 1
    if _measure(run_context) == "fidelity":
        return evaluate(model, data, run_context.original.model, threads).fidelity
    return accuracy(model, data, threads)


def _measure(run_context: RunContext) -> str:
    return "fidelity" if run_context.request.metric == "fidelity" else "accuracy"


def _fine_tuned(run_context: RunContext, search_context: SearchContext, found: Found, workspace: Workspace) -> Chosen:
    budget = run_context.plan.training_s(run_context.stages.elapsed_s)
    if not run_context.plan.epochs:
        return Chosen(found, FineTuned(found.model))
    if budget is not None and budget <= 0:
        return Chosen(found, FineTuned(found.model), ("No time was left to fine-tune (--time-budget).",))
    with run_context.stages("fine-tune"):
        tuned = fine_tune(
            found.model,
            search_context.teacher,
            run_context.samples,
            search_context.activations,
            run_context.plan.epochs,
            budget,
            run_context.request.seed,
            run_context.request.jobs,
            workspace.checkpoint,
            run_context.progress,
        )
    return Chosen(found, tuned)
