"""Candidates fitted to the original layer by layer: the one that follows it best, fitted where that helped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfir.compile.searching import BATCH, Found, Ground
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Context
from pfir.passes.refit import refit
from pfir.report.progress import Progress
from pfir.run.evaluate import evaluate
from pfir.run.memo import Memo

MACS_PER_SECOND = 1e10
SECONDS_PER_LAYER = 0.3
"""What inference and least squares reach at least on one core of today; they only decide how many candidates there is
time for."""
SHARE = 0.15
"""Of the time budget, at most."""


def best_fitted(ground: Ground, found: Sequence[Found], budget_s: float, seed: int, progress: Progress) -> Found:
    """The candidate that is nearest to the original on the scoring samples, each fitted or as it is.

    Fitting ranks candidates anew: of two that are equally far from the original untouched, one can come much nearer.

    Args:
        found: At least one, best first; those for which there is no time are left out from the end.
        budget_s: Of the whole run; nothing is fitted where even one would take more than a small share of it, and no
            more where fitting did not help the first.
    """
    best = found[0]
    count = min(len(found), int(SHARE * budget_s / _seconds(ground)))
    if not count or not best.removed:
        return best
    before = least = _divergence(ground, best.model)
    values = Memo(ground.calibration, BATCH)
    for number, candidate in enumerate(found[:count]):
        fitted = replace(candidate, model=_fitted(ground, candidate, values, seed))
        as_it_is, anew = (_divergence(ground, option.model) for option in (candidate, fitted))
        if min(as_it_is, anew) < least:
            best, least = (fitted, anew) if anew < as_it_is else (candidate, as_it_is)
        if anew >= as_it_is and best is found[0]:
            break  # what does not help the first does not suit this network
        progress.step((number + 1) / count, f"candidate {number + 1} of {count} fitted, best divergence {least:.4f}")
    if best is not found[0]:
        progress.note(f"fitted layer by layer: divergence {before:.4f} -> {least:.4f}")
    return best


def _fitted(ground: Ground, candidate: Found, values: Activations, seed: int) -> Model:
    model = candidate.model.clone()
    infer_shapes(model)
    context = Context(values, seed=seed)
    refit(model, ground.candidates.model, ground.coupling, candidate.removed, context)
    return model


def _divergence(ground: Ground, model: Model) -> float:
    score = ground.score
    return evaluate(model, score.data, score.reference, score.threads).divergence


def _seconds(ground: Ground) -> float:
    """Both models run once over the calibration data, and each layer is solved."""
    model = ground.candidates.model
    macs = ground.pricing.scalable.macs_at(ground.pricing.sizes)
    layers = sum(node.op in ("Conv", "Gemm", "MatMul", "ConvTranspose") for node in model.nodes())
    return max(1e-3, 2 * len(ground.calibration) * macs / MACS_PER_SECOND + SECONDS_PER_LAYER * layers)
