"""What is known of a weight that is to get sparse, and what a criterion makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pfir.passes.pruning.moments import Moments, regularised, scarcity
from pfir.passes.sparsity.layers import SparseLayer
from pfir.passes.sparsity.patterns import Pattern

HOLD = 0.01
"""Share of its own energy that holds each feature near its weight, so that no noise is fitted."""

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

    def gram(self, hold: float = HOLD) -> np.ndarray:
        """E[x x^T] or, where a bias takes up the mean, the covariance, its diagonal raised: [G, F, F].

        Without moments every feature counts the same.
        """
        groups, _, features = self.layer.weight.shape
        if self.moments is None:
            return np.broadcast_to(np.eye(features), (groups, features, features))
        ridge = hold + scarcity(features, self.moments.count)
        return np.stack([regularised(each, ridge) for each in self.moments.gram()])

    def masked(self, keep: np.ndarray) -> np.ndarray:
        """The weight with zeros where this matrix [G * O, F] says no."""
        return self.layer.weight * keep.reshape(self.layer.weight.shape)

    def error(self, weight: np.ndarray) -> float:
        """The squared error of the outputs by such a weight, over their energy."""
        gram, change = self.gram(0.0), weight - self.layer.weight
        energy = _energy(self.layer.weight, gram)
        return _energy(change, gram) / energy if energy > 0 else 0.0


def _energy(weight: np.ndarray, gram: np.ndarray) -> float:
    return float(np.sum((weight @ gram) * weight))
