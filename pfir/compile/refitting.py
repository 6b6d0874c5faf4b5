"""Candidates fitted to the original layer by layer: a second search, among those that are worth their time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pfir.compile.plan import Plan
from pfir.compile.pricing import Limits
from pfir.compile.request import Request
from pfir.compile.searching import BATCH, Found, Ground, Teller, fingerprint, kept_as, points
from pfir.compile.starts import warm_starts
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Context
from pfir.passes.refit import refit
from pfir.report.progress import Progress
from pfir.run.evaluate import Scores, evaluate
from pfir.run.memo import Memo
from pfir.search import Problem, Settings, Trial, search

MACS_PER_SECOND = 1e10
SECONDS_PER_LAYER = 0.3
"""What inference and least squares reach at least on one core of today; they only decide whether there is time."""
SHARE = 0.15
"""Of the time budget, at most."""


@dataclass(frozen=True)
class Fitting:
    """Fits candidates of a model, and judges them.

    Args:
        values: Activations on the calibration data, remembered between candidates.
        seed: Of the samples that fits are made on.
    """

    ground: Ground
    values: Activations
    seed: int

    def nearest(self, candidate: Found) -> tuple[Model, Scores]:
        """The candidate's model, fitted or as it is, whichever is nearer to the original, and what it is worth."""
        options = [(m, self.judged(m)) for m in (candidate.model, self.fitted(candidate))]
        return min(options, key=lambda option: option[1].divergence)

    def fitted(self, candidate: Found) -> Model:
        """The candidate's model, each layer fitted to what the original gives there."""
        model = candidate.model.clone()
        infer_shapes(model)
        context = Context(self.values, seed=self.seed)
        refit(model, self.ground.candidates.model, self.ground.coupling, candidate.removed, context)
        return model

    def __call__(self, parameters: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        """As `Score`, of the candidate at its nearest."""
        _, found = self.nearest(kept_as(self.ground, self.ground.candidates.removed(parameters)))
        details = {"fidelity": found.fidelity, **self.ground.pricing.costs(parameters)}
        return -found.divergence, details

    def judged(self, model: Model) -> Scores:
        """Against the original, on the scoring samples."""
        score = self.ground.score
        return evaluate(model, score.data, score.reference, score.threads)


def fitted_if_nearer(ground: Ground, found: Found, plan: Plan, seed: int) -> Found:
    """The candidate with its layers fitted, where there is time for it and it brings the model nearer."""
    if _seconds(ground) > SHARE * plan.total_s or not found.removed:
        return found
    fitting = Fitting(ground, Memo(ground.calibration, BATCH), seed)
    return replace(found, model=fitting.nearest(found)[0])


def best_fitted(
    ground: Ground,
    limits: Limits,
    found: Sequence[Found],
    plan: Plan,
    request: Request,
    journal: Path,
    progress: Progress,
    keeps: Callable[[Found], bool] = lambda found: True,
) -> Found:
    """The candidate that is nearest to the original once its layers are fitted, or the first as it is.

    Fitting ranks candidates anew: what is far from the original untouched can come nearer than others do. So the
    second search starts from the first one's finalists and from its starts, and scores what is fitted.

    Args:
        limits: That candidates keep by estimate.
        found: The first search's finalists, best first; at least one.
        plan: Its trials bound this search too. Nothing is fitted where one candidate would take more than a small share
            of the total time, or where fitting does not help the first.
        journal: Each trial is here before the next starts, and a search goes on from it.
        keeps: Whether a candidate keeps the limits when it is measured.
    """
    first, budget_s = found[0], SHARE * plan.total_s
    if _seconds(ground) > budget_s or not first.removed:
        return first
    fitting = Fitting(ground, Memo(ground.calibration, BATCH), request.seed)
    before, fitted = fitting.judged(first.model).divergence, fitting.fitted(first)
    if fitting.judged(fitted).divergence >= before:
        return first
    settings = Settings(plan.trials, request.seed, time_budget_s=budget_s)
    trials = _searched(fitting, limits, found, settings, request, journal, progress)
    for trial in trials:
        candidate = kept_as(ground, ground.candidates.removed(trial.parameters))
        if keeps(candidate):
            progress.note(f"fitted layer by layer: divergence {before:.4f} -> {-trial.score:.4f}")
            return replace(
                candidate,
                model=fitting.nearest(candidate)[0],
                parameters=trial.parameters,
                trials=(*(replace(t, chosen=False) for t in first.trials), *points(trials, trial)),
                seconds=first.seconds + sum(t.seconds for t in trials),
            )
    return replace(first, model=fitted)


def _searched(
    fitting: Fitting,
    limits: Limits,
    found: Sequence[Found],
    settings: Settings,
    request: Request,
    journal: Path,
    progress: Progress,
) -> tuple[Trial, ...]:
    """The trials that have a score, best first."""
    ground = fitting.ground
    prices = ground.pricing.within(limits)
    problem = Problem(
        space=prices.space(0.3),
        cost=prices,
        limit=1.0,
        score=fitting,
        snap=prices.snap,
        warm_starts=(*(f.parameters for f in found), *warm_starts(ground.pricing, ground.candidates.importance)),
        fingerprint=f"fitted {fingerprint(ground, request)}",
    )
    result = search(problem, settings, journal, Teller(progress, settings.trials, settings.time_budget_s))
    scored = [t for t in result.trials if t.score is not None]
    return tuple(sorted(scored, key=lambda t: (-t.score, t.cost, t.number)))


def _seconds(ground: Ground) -> float:
    """Both models run once over the calibration data, and each layer is solved."""
    model = ground.candidates.model
    macs = ground.pricing.scalable.macs_at(ground.pricing.sizes)
    layers = sum(node.op in ("Conv", "Gemm", "MatMul", "ConvTranspose") for node in model.nodes())
    return max(1e-3, 2 * len(ground.calibration) * macs / MACS_PER_SECOND + SECONDS_PER_LAYER * layers)
