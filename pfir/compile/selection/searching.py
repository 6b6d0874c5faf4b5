"""The search: the ground it stands on (groups, statistics, prices), the reachable range, the trials."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.branch_ranking import ranked_branches
from pfir.compile.methods.candidates import Candidates, Score
from pfir.compile.methods.pricing import Limits, Pricing, pricing
from pfir.compile.methods.reach import Reach
from pfir.compile.methods.warm_starts import warm_starts
from pfir.compile.plan import Plan
from pfir.compile.prepare import Original, fixed
from pfir.compile.request import Request
from pfir.compile.selection.finalists import finalists
from pfir.compile.training.gradients import LossGradients
from pfir.compile.training.learning import Learning
from pfir.data.base import Dataset
from pfir.errors import Infeasible
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups
from pfir.ir.coupling.groups import Coupling
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.criteria import scores
from pfir.passes.pruning.moments import collect
from pfir.passes.pruning.prune_channels import PruneChannels, by_group, choose, choose_by_macs, demand_known
from pfir.passes.spec import format_pass
from pfir.report.progress import Progress
from pfir.report.record import Trial as Tried
from pfir.run.activations import activations
from pfir.run.evaluate import reference
from pfir.search import Problem, SearchResult, Settings, Trial, search

BATCH = 16


@dataclass(frozen=True)
class SearchContext:
    """What every candidate of a model is made and priced with.

    Args:
        teacher: The original, folded: what candidates are judged and taught by. The model that they are made of has
            been through the passes that the user put in front, which may have changed what it computes.
    """

    teacher: Model
    coupling: Coupling
    candidates: Candidates
    pricing: Pricing
    score: Score
    baseline_s: float
    calibration: Dataset

    def activations(self, model: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """The named tensors on the calibration data."""
        return activations(model, names, self.calibration, BATCH)


@dataclass(frozen=True)
class Found:
    """The best candidate of a search.

    Args:
        model: Pruned and reconstructed, not fine-tuned.
        removed: Group name to the channels that went.
        widths: Group name to channels before and after.
        trials: Everything that was tried.
        seconds: Spent on the search.
        parameters: What the search chose; empty where nothing was searched.
        finalists: The parameters of the best candidates, each unlike the others, this one's first.
    """

    model: Model
    removed: Mapping[str, np.ndarray]
    widths: Mapping[str, tuple[int, int]]
    trials: tuple[Tried, ...]
    seconds: float
    coupling: Coupling
    parameters: Mapping[str, float] = field(default_factory=dict)
    finalists: tuple[Mapping[str, float], ...] = ()


def search_context_for(
    original: Original, pruning: PruneChannels, request: Request, evaluator: Evaluator, samples: Samples
) -> SearchContext:
    """Analyse the model: its groups, what its consumers read, which channels matter, what widths cost.

    Raises:
        UsageError: `--keep` or `--only` names a node that the model lacks.
        Infeasible: No channel may be removed.
    """
    start, teacher = original.start, original.baseline
    coupling = channel_groups(start, request.keep, request.only)
    if not coupling.free():
        raise Infeasible(nothing_free(coupling))
    context = Context(
        lambda m, names: activations(m, names, samples.calibration, BATCH),
        LossGradients(teacher, samples.calibration, len(samples.calibration)),
        seed=request.seed,
    )
    context = Learning(teacher, samples.calibration, request.seed).given_to(context, train=False)
    statistics = collect(start, coupling, context)
    importance = scores(start, coupling, pruning.criterion, context, statistics)
    scalable = ScalableKernels(fixed(start, request), channel_counts(coupling))
    prices = pricing(coupling, scalable, evaluator.estimator(original.baseline), pruning.align, Limits())
    candidates = Candidates(start, coupling, importance, statistics, prices)
    score = Score(candidates, samples.scoring, reference(teacher, samples.scoring))
    baseline_s = evaluator.latency(original.baseline).seconds
    return SearchContext(teacher, coupling, candidates, prices, score, baseline_s, samples.calibration)


def with_branches(search_context: SearchContext, deadline: Deadline = NEVER) -> SearchContext:
    """The ground on which branches may go, too; to rank them costs a search a few dozen trials."""
    pricing = replace(
        search_context.pricing, branches=ranked_branches(search_context.candidates, search_context.score.data, deadline)
    )
    candidates = replace(search_context.candidates, pricing=pricing)
    return replace(
        search_context,
        candidates=candidates,
        pricing=pricing,
        score=replace(search_context.score, candidates=candidates),
    )


def largest_speedup(search_context: SearchContext) -> float:
    """The largest speed-up that pruning can give."""
    return Reach(search_context.pricing, search_context.baseline_s).speedup


def check_reachable(search_context: SearchContext, limits: Limits) -> None:
    """Return only if pruning can meet the limits.

    Raises:
        Infeasible: It cannot; the text says what can be reached.
    """
    Reach(search_context.pricing, search_context.baseline_s).check(limits)


def as_it_is(model: Model) -> Found:
    """Nothing removed."""
    return Found(model, {}, {}, (), 0.0, channel_groups(model))


def fixed_choice(search_context: SearchContext, pruning: PruneChannels) -> Found:
    """What the ratios or the share of MACs of `--passes` ask for, without search.

    Raises:
        UsageError: A group is named that is not there or must stay.
        Infeasible: The share of MACs cannot be reached.
    """
    base = search_context.candidates
    if pruning.macs is not None:
        removed = choose_by_macs(
            search_context.pricing.scalable, base.coupling, base.importance, pruning.macs, pruning.align
        )
        return kept_as(search_context, removed)
    named = by_group(base.model, base.coupling, pruning.ratios)
    demand_known(base.coupling, named)
    ratios = {g.name: named.get(g.name, pruning.ratio or 0.0) for g in search_context.coupling.free()}
    return kept_as(search_context, choose(base.coupling, base.importance, ratios, pruning.align))


def kept_as(search_context: SearchContext, removed: Mapping[str, np.ndarray]) -> Found:
    """The model without these channels, the others making up for them."""
    widths = {n: (g.size, g.size - len(removed.get(n, ()))) for n, g in search_context.pricing.groups.items()}
    model = search_context.candidates.build(removed)
    if text := pruning_text(widths):
        model.record(text)
    return Found(model, removed, widths, (), 0.0, search_context.coupling)


def pruning_text(widths: Mapping[str, tuple[int, int]]) -> str:
    """The pass that leaves groups with these widths, (before, after) by name; nothing where none gets narrower."""
    shares = {g: (before - after) / before for g, (before, after) in widths.items() if after < before}
    # Rounded up: a ratio never removes more than it says, so 0.3333 would leave a third of 24 at 17 channels.
    ratios = tuple((g, math.ceil(share * 1e4 - 1e-6) / 1e4) for g, share in shares.items())
    return format_pass(PruneChannels(ratios=ratios)) if ratios else ""


def search_for(
    search_context: SearchContext,
    limits: Limits,
    plan: Plan,
    request: Request,
    journal: Path,
    progress: Progress,
    ends: Deadline = NEVER,
) -> Found:
    """The best candidate within the limits that the planned trials or time find; the journal's trials count.

    Raises:
        Infeasible: No candidate can keep the limits.
    """
    seconds = None if plan.search_s is None else min(plan.search_s, ends.left_s())
    prices = search_context.pricing.within(limits)
    problem = Problem(
        space=prices.space(0.3),
        cost=prices,
        limit=1.0,
        score=replace(search_context.score, candidates=replace(search_context.candidates, pricing=prices)),
        snap=prices.snap,
        warm_starts=warm_starts(search_context.pricing, search_context.candidates.importance),
        fingerprint=fingerprint(search_context, request),
    )
    settings = Settings(trials=plan.trials, seed=request.seed, jobs=1, time_budget_s=seconds)
    result = search(problem, settings, journal, Teller(progress, plan.trials, seconds))
    return _found(search_context, result)


def fingerprint(search_context: SearchContext, request: Request) -> str:
    """What trials of one journal share; not the measured latencies, which differ from run to run."""
    sizes = (sorted(search_context.pricing.sizes.items()), [b.name for b in search_context.pricing.branches])
    built = (request.target, request.fp16, request.backend)
    return repr((request.goals.text(), *built, search_context.score.data.fingerprint(), sizes))


class Teller:
    """Reports trials.

    Args:
        trials: How many there will be at most.
        seconds: After which no more start; None for no limit.
    """

    def __init__(self, progress: Progress, trials: int, seconds: float | None) -> None:
        self._progress, self._trials, self._seconds = progress, trials, seconds
        self._best, self._spent = None, 0.0

    def __call__(self, trial) -> None:
        self._spent += trial.seconds
        if trial.score is not None and (self._best is None or trial.score > self._best):
            self._best = trial.score
        share = (trial.number + 1) / self._trials
        if self._seconds:
            share = max(share, self._spent / self._seconds)
        if self._best is not None:
            self._progress.step(min(1.0, share), f"trial {trial.number + 1}, best divergence {-self._best:.4f}")


def _found(search_context: SearchContext, result: SearchResult) -> Found:
    best = finalists(result.trials)
    found = kept_as(search_context, search_context.candidates.removed(best[0].parameters))
    return replace(
        found,
        parameters=best[0].parameters,
        finalists=tuple(t.parameters for t in best),
        trials=points(result.trials, best[0]),
        seconds=sum(t.seconds for t in result.trials),
    )


def points(trials: Sequence[Trial], chosen: Trial) -> tuple[Tried, ...]:
    """The trials that have a score, as the report gets them."""
    return tuple(_point(t, t.number == chosen.number) for t in trials if t.score is not None)


def _point(trial: Trial, chosen: bool) -> Tried:
    told = trial.details  # an earlier version's journal tells neither MACs nor size
    return Tried(told["latency_s"], told["fidelity"], chosen, told.get("macs"), told.get("size_bytes"), -trial.score)


def nothing_free(coupling: Coupling) -> str:
    """Why no channel may go."""
    pins = [f"{p.node}: {p.reason}" for g in coupling.groups for p in g.pins][:1]
    why = f"; the first pin is {pins[0]}" if pins else ""
    return f"no channel of this model may be removed{why} (pfir inspect shows all); its reachable speed-up is 1.00x"
