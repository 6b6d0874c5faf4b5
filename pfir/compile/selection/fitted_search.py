"""Candidates fitted to the original layer by layer: a second search, among those that are worth their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pfir.compile.deadline import Deadline
from pfir.compile.methods.pricing import Limits
from pfir.compile.plan import Plan
from pfir.compile.selection.finalists import finalists
from pfir.compile.selection.search_context import BATCH, SearchContext
from pfir.compile.selection.searching import Found, SearchRun, Teller, built_by, fingerprint, points
from pfir.errors import OutOfTime
from pfir.ir.linear import plain_layer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Context
from pfir.run.evaluate import Scores, evaluate
from pfir.run.memo import Memo
from pfir.search import Problem, Settings, Trial, search

MACS_PER_SECOND = 1e10
SECONDS_PER_LAYER = 0.3
"""What inference and least squares reach at least on one core of today; they only decide whether there is time."""


class Fitting:
    """Fits candidates of a model, judges them, and keeps the best one's model.

    Args:
        values: Activations on the calibration data, remembered between candidates.
        seed: Of the samples that fits are made on.
    """

    def __init__(self, search_context: SearchContext, values: Activations, seed: int) -> None:
        self.search_context, self._values, self._seed = search_context, values, seed
        self._best: tuple[float, Mapping[str, float], Model] | None = None

    def nearest(self, candidate: Found) -> tuple[Model, Scores]:
        """The candidate's model, fitted or as it is, whichever is nearer to the original, and what it is worth."""
        options = [(m, self.judged(m, candidate)) for m in (candidate.model, self.fitted(candidate))]
        return min(options, key=lambda option: option[1].divergence)

    def fitted(self, candidate: Found) -> Model:
        """The candidate's model, each layer fitted to what the original gives there."""
        model = candidate.model.clone()
        infer_shapes(model)
        context, searched = Context(self._values, seed=self._seed), self.search_context
        for method, choice in zip(searched.pricing.methods, candidate.choices, strict=True):
            method.fit(model, choice, context, searched.models.teacher)
        return model

    def model_of(self, parameters: Mapping[str, float], candidate: Found) -> Model:
        """The model that scored best with these parameters; made again where another search scored them."""
        if self._best is not None and self._best[1] == parameters:
            return self._best[2]
        return self.nearest(candidate)[0]

    def __call__(self, parameters: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """As `Score`, of the candidate at its nearest."""
        model, found = self.nearest(built_by(self.search_context, parameters))
        if self._best is None or -found.divergence > self._best[0]:
            self._best = (-found.divergence, dict(parameters), model)
        details = {"fidelity": found.fidelity, **self.search_context.pricing.costs(parameters)}
        return -found.divergence, details

    def judged(self, model: Model, candidate: Found) -> Scores:
        """A model of the candidate, with what is done at last, against the original on the scoring samples."""
        score, rounded = self.search_context.score, self.search_context.candidates.rounded
        return evaluate(rounded(model, candidate.choices), score.data, score.reference, score.threads)


def fitted_if_nearer(search_context: SearchContext, found: Found, plan: Plan, seed: int, ends: Deadline) -> Found:
    """The candidate with its layers fitted, where there is time for it and it brings the model nearer."""
    if not _affordable(search_context, found, plan, ends):
        return found
    try:
        return replace(found, model=_fitting(search_context, seed, ends).nearest(found)[0])
    except OutOfTime:
        return found


def best_fitted(
    search_context: SearchContext,
    limits: Limits,
    first: Found,
    how: SearchRun,
    keeps: Callable[[Found], bool] = lambda found: True,
) -> Found:
    """The candidate that is nearest to the original once its layers are fitted, or the first as it is.

    The second search starts from the finalists of the first, and its trials bound it as those of the first did.

    Args:
        limits: That candidates keep by estimate.
        first: What the first search found, with its finalists.
        how: Nothing is fitted where one candidate would take more than the plan has for fitting, or where fitting does
            not help the first; the search ends in the middle of a trial if need be.
        keeps: Whether a candidate keeps the limits when it is measured.
    """
    if not _affordable(search_context, first, how.plan, how.ends):
        return first
    fitting = _fitting(search_context, how.request.seed, how.ends)
    try:
        before, fitted = fitting.judged(first.model, first).divergence, fitting.fitted(first)
        if fitting.judged(fitted, first).divergence >= before:
            return first
        trials = _searched(fitting, limits, first, how)
    except OutOfTime:
        return first
    for trial in trials:
        candidate = built_by(search_context, trial.parameters)
        if keeps(candidate):
            how.progress.note(f"fitted layer by layer: divergence {before:.4f} -> {-trial.score:.4f}")
            return _as_found(fitting, candidate, trial, trials, first)
    return replace(first, model=fitted)


def _as_found(fitting: Fitting, candidate: Found, best: Trial, trials: Sequence[Trial], first: Found) -> Found:
    """The candidate of the best trial, with the trials of both searches."""
    return replace(
        candidate,
        model=fitting.model_of(best.parameters, candidate),
        parameters=best.parameters,
        finalists=tuple(t.parameters for t in finalists(trials)),
        trials=(*(replace(t, chosen=False) for t in first.trials), *points(trials, best)),
        seconds=first.seconds + sum(t.seconds for t in trials),
    )


def _fitting(search_context: SearchContext, seed: int, ends: Deadline) -> Fitting:
    return Fitting(search_context, ends.guard(Memo(search_context.calibration, BATCH)), seed)


def _affordable(search_context: SearchContext, found: Found, plan: Plan, ends: Deadline) -> bool:
    """Whether a method that fits has changed anything, and there is time to fit a candidate at all."""
    pairs = zip(search_context.pricing.methods, found.choices, strict=True)
    changed = any(method.fits and choice.text for method, choice in pairs)
    return changed and _seconds(search_context) <= min(plan.fitting_s, ends.left_s())


def _searched(fitting: Fitting, limits: Limits, first: Found, how: SearchRun) -> tuple[Trial, ...]:
    """The trials that have a score, best first."""
    search_context = fitting.search_context
    prices, settings = search_context.pricing.within(limits), _settings(search_context, how)
    problem = Problem(
        space=prices.space(),
        cost=prices,
        limit=1.0,
        score=fitting,
        snap=prices.snap,
        warm_starts=(*first.finalists, *prices.warm_starts()),
        fingerprint=f"fitted {fingerprint(search_context, how.request)}",
    )
    teller = Teller(how.progress, settings.trials, settings.time_budget_s)
    scored = [t for t in search(problem, settings, how.journal, teller).trials if t.score is not None]
    return tuple(sorted(scored, key=lambda t: (-t.score, t.cost, t.number)))


def _settings(search_context: SearchContext, how: SearchRun) -> Settings:
    """As many trials as the clock allows or, where it has no say, as many as should fit into the same time."""
    plan, seed = how.plan, how.request.seed
    if plan.clocked:
        return Settings(plan.trials, seed, time_budget_s=how.ends.left_s())
    return Settings(min(plan.trials, max(1, int(plan.fitting_s / _seconds(search_context)))), seed)


def _seconds(search_context: SearchContext) -> float:
    """Both models run once over the calibration data, and each layer is solved."""
    model = search_context.candidates.model
    macs = search_context.pricing.original.macs
    layers = sum(plain_layer(node) is not None for node in model.nodes())
    return max(1e-3, 2 * len(search_context.calibration) * macs / MACS_PER_SECOND + SECONDS_PER_LAYER * layers)
