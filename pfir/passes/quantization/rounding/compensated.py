"""Rounding by error compensation: weight by weight, those still free make up for what rounding one has changed."""

from __future__ import annotations

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.rounding.layerwise import round_layers
from pfir.passes.quantization.rounding.objective import Objective

HOLD = 1e-2
"""Share of its own energy by which each feature is held near its weight, which keeps noise out of the solution."""
FLOOR = 1e-4
"""Likewise, a share of the mean energy: features that are next to constant stay solvable."""
SWEEPS = 5
"""Most sweeps of descent; few weights still move in the last."""


def compensate(model: Model, reference: Model, weight_bits: int, context: Context) -> tuple[str, ...]:
    """Round the weights of a quantized model with compensation, in place, layer by layer; the nodes of those it chose.

    Args and Raises: as `round_layers`.
    """
    return round_layers(model, reference, weight_bits, context, lambda task, limit, _: compensated(task, limit))


def compensated(objective: Objective, limit: int) -> np.ndarray:
    """Integers, float32 [G, O, F], of which none can be changed alone for a smaller error before any Relu or Clip.

    Weights are rounded in turn, the rest of their output solved anew each time; then each is set, in turn, to what is
    best beside the others, for a few sweeps. Integers need not be those next to the float weights.

    Args:
        objective: The layer.
        limit: The largest integer; the smallest is its negative.

    Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers", ICLR 2023, arXiv:2210.17323, section 3, in the order of the features; Behdin et al., "QuantEase",
    arXiv:2309.01885, section 3, for the descent. Ours starts from the least-squares solution for the inputs of the
    quantized prefix.
    """
    second, cross = objective.moments()
    ridge = _ridge(second)
    held, cross = second + ridge, cross + objective.weight @ ridge
    scale = objective.scale.astype(np.float64)
    integers = _in_turn(np.linalg.solve(held, cross.swapaxes(1, 2)).swapaxes(1, 2), held, scale, limit)
    return _descended(integers, held, cross, scale, limit).astype(np.float32)


def _ridge(second: np.ndarray) -> np.ndarray:
    """What holds the weights: each by its own energy, those that are hardly ever active by a trace of the others'."""
    energy = np.maximum(np.diagonal(second, axis1=1, axis2=2), 0)
    rest = np.maximum(FLOOR * energy.mean(1, keepdims=True), np.finfo(np.float32).tiny)
    return np.eye(second.shape[1]) * (HOLD * energy + rest)[:, :, None]


def _in_turn(weight: np.ndarray, second: np.ndarray, scale: np.ndarray, limit: int) -> np.ndarray:
    """Each feature's weights rounded, and those behind it moved to where the error is least with it."""
    upper = np.linalg.cholesky(np.linalg.inv(second)).swapaxes(1, 2)
    weight, integers = weight.copy(), np.empty_like(weight)
    for k in range(weight.shape[2]):
        integers[:, :, k] = _rounded(weight[:, :, k] / scale[:, :, 0], limit)
        gap = (weight[:, :, k] - scale[:, :, 0] * integers[:, :, k]) / upper[:, None, k, k]
        weight[:, :, k:] -= gap[:, :, None] * upper[:, None, k, k:]
    return integers


def _descended(
    integers: np.ndarray, second: np.ndarray, cross: np.ndarray, scale: np.ndarray, limit: int
) -> np.ndarray:
    """Coordinate descent among integers, until nothing moves or the sweeps are over."""
    rest = cross - (scale * integers) @ second
    for _ in range(SWEEPS):
        moved = False
        for k in range(integers.shape[2]):
            step = rest[:, :, k] / second[:, None, k, k] / scale[:, :, 0]
            best = _rounded(integers[:, :, k] + step, limit)
            change = best - integers[:, :, k]
            if change.any():
                moved, integers[:, :, k] = True, best
                rest -= (change * scale[:, :, 0])[:, :, None] * second[:, None, k]
        if not moved:
            break
    return integers


def _rounded(steps: np.ndarray, limit: int) -> np.ndarray:
    return np.clip(np.rint(steps), -limit, limit)
