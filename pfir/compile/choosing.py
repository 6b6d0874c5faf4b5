"""From the original to the compressed model: by recipe, by fixed ratios, by search, or the fastest within a drop."""

from __future__ import annotations

import math
from dataclasses import replace

from pfir.compile.finetune import Tuned, fine_tune
from pfir.compile.judge import Judge
from pfir.compile.pricing import Limits
from pfir.compile.refitting import best_fitted, fitted_if_nearer
from pfir.compile.replay import read_removal, replay
from pfir.compile.searching import (
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
from pfir.compile.setting import Chosen, Setting
from pfir.compile.workspace import Workspace
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
        ground = with_branches(ground)
    check_reachable(ground, limits)
    if limits == Limits():
        return _fastest_within(setting, judge, ground, room)
    return _tuned(setting, ground, _search(setting, judge, ground, limits, room), room)


def _is_met_already(setting: Setting, judge: Judge, limits: Limits) -> bool:
    """Whether the original keeps the only limit, one of latency, and the user fixed no choice."""
    request, pruning = setting.request, setting.original.pruning
    fixed = request.recipe is not None or pruning.ratio is not None or pruning.ratios or pruning.macs is not None
    if fixed or request.goals.latency_s is None or limits != Limits(limits.latency_s):
        return False
    return judge.latency(setting.original.baseline).seconds <= limits.latency_s


def _fitted(setting: Setting, ground: Ground, found: Found) -> Found:
    with setting.stages("fit layers"):
        return fitted_if_nearer(ground, found, setting.plan, setting.request.seed)


def _search(setting: Setting, judge: Judge, ground: Ground, limits: Limits, room: Workspace) -> Found:
    """Search; where a device measures, search again under a tighter limit until it confirms the best one's speed-up."""
    for attempt in range(ROUNDS):
        with setting.stages("search" if attempt == 0 else f"search again ({attempt + 1})"):
            found = search_for(ground, limits, setting.plan, setting.request, room.journal(attempt), setting.progress)
        excess = judge.excess(found[0].model, setting.original.baseline)
        if excess <= 1:
            break
        setting.progress.note(f"measured, it takes {excess:.2f} times what is allowed; the limit is tightened")
        limits = replace(limits, latency_s=limits.latency_s / excess * MARGIN)

    def keeps(candidate: Found) -> bool:
        return judge.excess(candidate.model, setting.original.baseline) <= 1

    with setting.stages("fit layers"):
        journal = room.journal(fitted=True)
        return best_fitted(ground, limits, found, setting.plan, setting.request, journal, setting.progress, keeps)


def _fastest_within(setting: Setting, judge: Judge, ground: Ground, room: Workspace) -> Chosen:
    """Bisection over the speed-up, fine-tuning included; the original where nothing faster stays within the drop."""
    floor = _quality(setting, setting.original.baseline) - setting.request.goals.max_drop / 100
    low, high = 1.0, fastest(ground)
    best = Chosen((nothing := as_it_is(setting.original.start)), Tuned(nothing.model))
    for step in range(STEPS):
        factor = math.sqrt(low * high)
        part = replace(setting, plan=setting.plan.part(step, STEPS, setting.stages.elapsed_s))
        with setting.stages(f"search for {factor:.2f}x"):
            limits = Limits(ground.baseline_s / factor)
            tried = search_for(ground, limits, part.plan, part.request, room.journal(step), part.progress)
            journal, share = room.journal(step, fitted=True), replace(part.plan, total_s=setting.plan.total_s / STEPS)
            found = best_fitted(ground, limits, tried, share, part.request, journal, part.progress)
        chosen = _tuned(part, ground, found, room)
        reached = _quality(setting, chosen.tuned.model)
        setting.progress.note(f"{factor:.2f}x reaches {_measure(setting)} {reached:.2%}; at least {floor:.2%} is asked")
        if reached >= floor:
            low, best = factor, chosen
        else:
            high = factor
    return best


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
            ground.candidates.model,
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
