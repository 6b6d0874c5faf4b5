"""What is known of a weight that is to get sparse, and what a criterion makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pfir.passes.pruning.moments import Moments, scarcity
from pfir.passes.sparsity.layers import SparseLayer
from pfir.passes.sparsity.patterns import Pattern

HOLD = 0.01
"""Share of its own energy that holds each feature near its weight, so that no noise is fitted."""
FLOOR = 1e-4
"""Likewise, a share of the mean energy: features that are next to never active stay solvable in float32."""

ROUNDING = 1e-5
"""Likewise, a share of the second moment: what rounding leaves of a variance that is small beside the mean."""

Solution = Callable[[float], np.ndarray]
"""The weight, float64 [G, O, F], with this share of its units zero."""


@dataclass(frozen=True, eq=False)
class Task:
    """A weight that is to get sparse.

    Args:
        layer: The weight.
        pattern: Of its zeros.
        moments: Of what it is multiplied with; None where nothing is known of that.
        movement: float64 [G * O, F], how far each weight moves away from zero; None where nobody asked.
    """

    layer: SparseLayer
    pattern: Pattern
    moments: Moments | None = None
    movement: np.ndarray | None = None

    def gram(self) -> np.ndarray:
        """E[x x^T] or, where a bias takes up the mean, the covariance, its diagonal raised: [G, F, F].

        Without moments every feature counts the same.
        """
        groups, _, features = self.layer.weight.shape
        if self.moments is None:
            return np.broadcast_to(np.eye(features), (groups, features, features))
        gram, hold = self.moments.gram(), HOLD + scarcity(features, self.moments.count)
        energy = np.maximum(np.diagonal(gram, axis1=1, axis2=2), 0)
        floor = np.maximum(FLOOR * energy.mean(1, keepdims=True), np.finfo(np.float32).tiny)
        rounding = ROUNDING * np.diagonal(self.moments.second, axis1=1, axis2=2)
        return gram + np.eye(features) * (hold * energy + floor + rounding)[:, :, None]

    def masked(self, keep: np.ndarray) -> np.ndarray:
        """The weight with zeros where this matrix [G * O, F] says no."""
        return self.layer.weight * keep.reshape(self.layer.weight.shape)

    def error(self, weight: np.ndarray) -> float:
        """The squared error of the outputs by such a weight, over their energy."""
        gram, change = self.gram() if self.moments is None else self.moments.gram(), weight - self.layer.weight
        energy = _energy(self.layer.weight, gram)
        return _energy(change, gram) / energy if energy > 0 else 0.0


def _energy(weight: np.ndarray, gram: np.ndarray) -> float:
    return float(np.sum((weight @ gram) * weight))
