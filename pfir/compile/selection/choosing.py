"""From the original to the compressed model: by recipe, by fixed ratios, by search, or the fastest within a drop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pfir.compile.measuring.evaluator import Judge
from pfir.compile.methods.pricing import Limits
from pfir.compile.replay import read_removal, replay
from pfir.compile.run_context import Chosen, Setting
from pfir.compile.selection.fitted_search import best_fitted, fitted_if_nearer
from pfir.compile.selection.searching import (
    Found,
    Ground,
    as_it_is,
    check_reachable,
    fastest,
    fixed_choice,
    ground_for,
    kept_as,
    search_for,
    with_branches,
)
from pfir.compile.training.fine_tuning import Tuned, fine_tune
from pfir.compile.workspace import Workspace
from pfir.errors import Infeasible
from pfir.ir.model import Model
from pfir.run.evaluate import accuracy, evaluate

ROUNDS = 3
"""Searches at most, each with a tighter limit, when a device measures less speed-up than the estimate promised."""
MARGIN = 0.98
STEPS = 4
"""Speed-ups that are tried, by bisection, for the fastest model within a drop."""


def choose(setting: Setting, judge: Judge, limits: Limits, room: Workspace) -> Chosen:
    """The compressed model.

    Raises:
        Infeasible: The goals lie beyond what pruning can reach; nothing was tried then.
    """
    request, pruning = setting.request, setting.original.pruning
    if request.recipe is not None and not request.retrain:
        with setting.stages("replay"):
            return Chosen(*replay(setting.original, request))
    if pruning is None:
        found = as_it_is(setting.original.start)
        return Chosen(found, Tuned(found.model), ("nothing was pruned: --passes names no prune-channels",))
    if _is_met_already(setting, judge, limits):
        return Chosen((nothing := as_it_is(setting.original.start)), Tuned(nothing.model))
    with setting.stages("analyse"):
        ground = ground_for(setting.original, pruning, request, judge, setting.samples)
    if request.recipe is not None:
        found = _fitted(setting, ground, kept_as(ground, read_removal(setting.original, request)))
        return _tuned(setting, ground, found, room)
    if pruning.ratio is not None or pruning.ratios or pruning.macs is not None:
        return _tuned(setting, ground, _fitted(setting, ground, fixed_choice(ground, pruning)), room)
    with setting.stages("rank branches"):
        ground = with_branches(ground, setting.plan.ranking_ends(setting.stages.elapsed_s))
    check_reachable(ground, limits)
    if limits == Limits():
        return _fastest_within(setting, judge, ground, room)
    found, notes = _search(setting, judge, ground, limits, room)
    chosen = _tuned(setting, ground, found, room)
    return replace(chosen, notes=(*notes, *chosen.notes))


def _is_met_already(setting: Setting, judge: Judge, limits: Limits) -> bool:
    """Whether the original keeps the only limit, one of latency, and the user fixed no choice."""
    request, pruning = setting.request, setting.original.pruning
    fixed = request.recipe is not None or pruning.ratio is not None or pruning.ratios or pruning.macs is not None
    if fixed or request.goals.latency_s is None or limits != Limits(limits.latency_s):
        return False
    return judge.latency(setting.original.baseline).seconds <= limits.latency_s


def _fitted(setting: Setting, ground: Ground, found: Found) -> Found:
    with setting.stages("fit layers"):
        ends = setting.plan.fitting_ends(setting.stages.elapsed_s)
        return fitted_if_nearer(ground, found, setting.plan, setting.request.seed, ends)


@dataclass(frozen=True)
class _Attempt:
    """A search under some limits, and the best candidate's share of the latency that the goals allow."""

    limits: Limits
    found: Found
    excess: float


def _search(
    setting: Setting, judge: Judge, ground: Ground, limits: Limits, room: Workspace
) -> tuple[Found, tuple[str, ...]]:
    """Search; where a device measures, search again under a tighter limit until it confirms the best one's speed-up.

    Where none confirms it, the one that came nearest is delivered, and a note says so.
    """
    attempts = _attempts(setting, judge, ground, limits, room)
    nearest = min(attempts, key=lambda a: max(a.excess, 1.0))
    allowed = max(nearest.excess, 1.0)
    notes = () if nearest.excess <= 1 else (_missed(nearest),)

    def keeps(candidate: Found) -> bool:
        return judge.excess(candidate.model, setting.original.baseline) <= allowed

    with setting.stages("fit layers"):
        journal, ends = room.journal(fitted=True), setting.plan.fitting_ends(setting.stages.elapsed_s)
        plan, request, limits = setting.plan, setting.request, nearest.limits
        fitted = best_fitted(ground, limits, nearest.found, plan, request, journal, setting.progress, ends, keeps)
    return fitted, notes


def _attempts(setting: Setting, judge: Judge, ground: Ground, limits: Limits, room: Workspace) -> list[_Attempt]:
    """Searches, the last of which found what keeps the limit when it is measured, or was one too many."""
    attempts: list[_Attempt] = []
    while len(attempts) < ROUNDS:
        number = len(attempts)
        with setting.stages("search" if not number else f"search again ({number + 1})"):
            ends = setting.plan.choosing_ends(setting.stages.elapsed_s)
            try:
                found = search_for(
                    ground, limits, setting.plan, setting.request, room.journal(number), setting.progress, ends
                )
            except Infeasible:
                if not attempts:
                    raise
                break
        attempts.append(_Attempt(limits, found, judge.excess(found.model, setting.original.baseline)))
        if (excess := attempts[-1].excess) <= 1:
            break
        setting.progress.note(f"measured, it takes {excess:.2f} times what is allowed; the limit is tightened")
        limits = replace(limits, latency_s=limits.latency_s / excess * MARGIN)
    return attempts


def _missed(nearest: _Attempt) -> str:
    return (
        f"The device measured {nearest.excess:.2f} times the latency that the goal allows for the best candidate; "
        "no narrower one was confirmed. This one came nearest."
    )


def _fastest_within(setting: Setting, judge: Judge, ground: Ground, room: Workspace) -> Chosen:
    """Bisection over the speed-up, fine-tuning included; the original where nothing faster stays within the drop."""
    floor = _quality(setting, setting.original.baseline) - setting.request.goals.max_drop / 100
    low, high = 1.0, fastest(ground)
    best = Chosen((nothing := as_it_is(setting.original.start)), Tuned(nothing.model))
    for step in range(STEPS):
        factor = math.sqrt(low * high)
        part = replace(setting, plan=setting.plan.part(step, STEPS, setting.stages.elapsed_s))
        with setting.stages(f"search for {factor:.2f}x"):
            found = _searched_and_fitted(part, ground, Limits(ground.baseline_s / factor), room, step)
        chosen = _tuned(part, ground, found, room)
        reached = _quality(setting, chosen.tuned.model)
        setting.progress.note(f"{factor:.2f}x reaches {_measure(setting)} {reached:.2%}; at least {floor:.2%} is asked")
        if reached >= floor:
            low, best = factor, chosen
        else:
            high = factor
    return best


def _searched_and_fitted(setting: Setting, ground: Ground, limits: Limits, room: Workspace, step: int) -> Found:
    plan, request, progress = setting.plan, setting.request, setting.progress
    ends = plan.choosing_ends(setting.stages.elapsed_s)
    tried = search_for(ground, limits, plan, request, room.journal(step), progress, ends)
    ends = plan.fitting_ends(setting.stages.elapsed_s)
    return best_fitted(ground, limits, tried, plan, request, room.journal(step, fitted=True), progress, ends)


def _quality(setting: Setting, model: Model) -> float:
    """What `--max-drop` speaks of: accuracy, or by `--metric fidelity` the agreement with the original."""
    data, threads = setting.samples.validation, setting.request.jobs or 1
    if _measure(setting) == "fidelity":
        return evaluate(model, data, setting.original.model, threads).fidelity
    return accuracy(model, data, threads)


def _measure(setting: Setting) -> str:
    return "fidelity" if setting.request.metric == "fidelity" else "accuracy"


def _tuned(setting: Setting, ground: Ground, found: Found, room: Workspace) -> Chosen:
    budget = setting.plan.training_s(setting.stages.elapsed_s)
    if not setting.plan.epochs:
        return Chosen(found, Tuned(found.model))
    if budget is not None and budget <= 0:
        return Chosen(found, Tuned(found.model), ("No time was left to fine-tune (--time-budget).",))
    with setting.stages("fine-tune"):
        tuned = fine_tune(
            found.model,
            ground.teacher,
            setting.samples,
            ground.activations,
            setting.plan.epochs,
            budget,
            setting.request.seed,
            setting.request.jobs,
            room.checkpoint,
            setting.progress,
        )
    return Chosen(found, tuned)
