"""Rounding by error compensation: weight by weight, those still free make up for what rounding one has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.quantization.qdq.integer_layers import Bits
from pfir.passes.quantization.rounding.layerwise import Choice, round_layers
from pfir.passes.quantization.rounding.objective import Objective

HOLD = 0.03
"""Share of its own energy by which each feature is held near its weight, which keeps noise out of the solution."""
NOISE = 0.2
"""How much more, for each feature per row: fewer rows tell more about themselves than about the layer."""
FLOOR = 1e-4
"""Likewise, a share of the mean energy: features that are next to constant stay solvable."""
SWEEPS = 5
"""Most sweeps of descent; few weights still move in the last."""
MOST_STRETCH = 1.5
"""Scales are fitted within this factor of what they were, either way."""


def compensate(model: Model, reference: Model, weight_bits: Bits, context: Context) -> tuple[str, ...]:
    """Round the weights of a quantized model with compensation, in place, layer by layer; the nodes of those it chose.

    Scales per channel are fitted to the integers.

    Args and Raises: as `round_layers`.
    """
    return round_layers(model, reference, weight_bits, context, lambda task, limit, _: compensated(task, limit))


def compensated(objective: Objective, limit: int) -> Choice:
    """Integers of which none can be changed alone for a smaller error before any Relu or Clip.

    Weights are rounded in turn, the rest of their output solved anew each time; then each is set, in turn, to what is
    best beside the others, for a few sweeps; then scales are fitted, and the sweeps go on. Integers need not be those
    next to the float weights, but those of zeros are zero.

    Args:
        objective: The layer.
        limit: The largest integer; the smallest is its negative.

    Source: Frantar, Ashkboos, Hoefler, Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers", ICLR 2023, arXiv:2210.17323, section 3, in the order of the features; Behdin et al., "QuantEase",
    arXiv:2309.01885, section 3, for the descent. Ours starts from the least-squares solution for the inputs of the
    quantized prefix, and is held near the float weights.
    """
    second, cross = objective.moments()
    hold = ridge(second, objective.count)
    problem = _Problem(second + hold, cross + objective.weight @ hold, limit, objective.weight != 0)
    scale = objective.scale.astype(np.float64)
    integers = problem.descended(problem.in_turn(scale), scale)
    if np.ptp(scale):
        scale = problem.fitted(integers, scale)
        integers = problem.descended(integers, scale)
    return Choice(integers.astype(np.float32), scale.astype(np.float32))


def ridge(second: np.ndarray, count: int) -> np.ndarray:
    """What holds the weights: each by its own energy, those that are hardly ever active by a trace of the others'.

    Args:
        second: Second moments of the features, [G, F, F].
        count: Of how many rows they are.
    """
    energy = np.maximum(np.diagonal(second, axis1=1, axis2=2), 0)
    rest = np.maximum(FLOOR * energy.mean(1, keepdims=True), np.finfo(np.float32).tiny)
    hold = HOLD + NOISE * second.shape[1] / count
    return np.eye(second.shape[1]) * (hold * energy + rest)[:, :, None]


@dataclass(frozen=True, eq=False)
class Descent:
    """The least of w G w^T - 2 C w^T over weights w of a grid, for each output by itself.

    Args:
        second: G, positive definite, float64 [G, F, F].
        cross: C, [G, O, F].
        nearest: The numbers of the grid nearest to those of a feature, [G, O], and which feature it is.
    """

    second: np.ndarray
    cross: np.ndarray
    nearest: Callable[[np.ndarray, int], np.ndarray]

    def in_turn(self) -> np.ndarray:
        """Weights [G, O, F]: each feature's rounded, those behind it moved to where the error is least."""
        weight = np.linalg.solve(self.second, self.cross.swapaxes(1, 2)).swapaxes(1, 2)
        upper = np.linalg.cholesky(np.linalg.inv(self.second)).swapaxes(1, 2)
        rounded = np.empty_like(weight)
        for k in range(weight.shape[2]):
            rounded[:, :, k] = self.nearest(weight[:, :, k], k)
            gap = (weight[:, :, k] - rounded[:, :, k]) / upper[:, None, k, k]
            weight[:, :, k:] -= gap[:, :, None] * upper[:, None, k, k:]
        return rounded

    def descended(self, rounded: np.ndarray) -> np.ndarray:
        """Coordinate descent from these weights, until nothing moves or the sweeps are over."""
        rounded = rounded.copy()
        rest = self.cross - rounded @ self.second
        for _ in range(SWEEPS):
            moved = False
            for k in range(rounded.shape[2]):
                best = self.nearest(rounded[:, :, k] + rest[:, :, k] / self.second[:, None, k, k], k)
                change = best - rounded[:, :, k]
                if change.any():
                    moved, rounded[:, :, k] = True, best
                    rest -= change[:, :, None] * self.second[:, None, k]
            if not moved:
                break
        return rounded


@dataclass(frozen=True, eq=False)
class _Problem:
    """The same over multiples w = scale * integer.

    Args:
        second, cross: As of `Descent`.
        limit: The largest integer; the smallest is its negative.
        free: Which integers may be other than zero, bool [G, O, F].
    """

    second: np.ndarray
    cross: np.ndarray
    limit: int
    free: np.ndarray

    def in_turn(self, scale: np.ndarray) -> np.ndarray:
        """Integers [G, O, F], by `Descent.in_turn`."""
        return np.rint(self._descent(scale).in_turn() / scale)

    def descended(self, integers: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Integers, by `Descent.descended` from these."""
        return np.rint(self._descent(scale).descended(scale * integers) / scale)

    def fitted(self, integers: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The scales of the least error with these integers, [G, O, 1]."""
        energy = np.sum(integers @ self.second * integers, axis=2, keepdims=True)
        products = np.sum(self.cross * integers, axis=2, keepdims=True)
        best = np.where(energy > 0, products / np.where(energy > 0, energy, 1), scale)
        return np.clip(best, scale / MOST_STRETCH, scale * MOST_STRETCH)

    def _descent(self, scale: np.ndarray) -> Descent:
        step = scale[:, :, 0]

        def nearest(x: np.ndarray, k: int) -> np.ndarray:
            return np.where(self.free[:, :, k], step * np.clip(np.rint(x / step), -self.limit, self.limit), 0.0)

        return Descent(self.second, self.cross, nearest)
