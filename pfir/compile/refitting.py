"""The chosen candidate fitted to the original layer by layer, kept where unseen samples approve."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.searching import Found, Ground
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.refit import refit
from pfir.report.progress import Progress
from pfir.run.evaluate import evaluate

MACS_PER_SECOND = 2e10
"""What inference reaches at least on one core of today; only decides whether there is time for it."""
SHARE = 0.15
"""Of the time budget, at most."""


def refitted(ground: Ground, found: Found, budget_s: float, seed: int, progress: Progress) -> Found:
    """The candidate with each layer fitted anew to the original's outputs; as it was where that brings nothing.

    Args:
        budget_s: Of the whole run; nothing is done where fitting would take more than a small share of it.
    """
    if not found.removed or _seconds(ground) > SHARE * budget_s:
        return found
    model = found.model.clone()
    infer_shapes(model)
    context = Context(ground.activations, seed=seed)
    refit(model, ground.candidates.model, ground.coupling, found.removed, context)
    score = ground.score
    before, after = (evaluate(m, score.data, score.reference, score.threads) for m in (found.model, model))
    if after.divergence >= before.divergence:
        return found
    progress.note(f"fitted layer by layer: divergence {before.divergence:.4f} -> {after.divergence:.4f}")
    return replace(found, model=model)


def _seconds(ground: Ground) -> float:
    """Both models run over the calibration data once a layer."""
    model = ground.candidates.model
    macs = ground.pricing.scalable.macs_at(ground.pricing.sizes)
    layers = sum(node.op in ("Conv", "Gemm", "MatMul", "ConvTranspose") for node in model.nodes())
    return 2 * layers * len(ground.calibration) * macs / MACS_PER_SECOND
