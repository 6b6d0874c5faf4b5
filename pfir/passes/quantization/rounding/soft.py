"""Weights on their way to integers: each between the two nearest to it, pushed by a regulariser to one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.errors import UsageError
from pfir.passes.quantization.rounding.adam import Adam

# The rectified sigmoid reaches from below 0 to above 1, so that its ends are met (paper: zeta 1.1, gamma -0.1).
LOW, HIGH = -0.1, 1.1
NEXT_TO = 0.4
"""Steps that a soft weight may lie from the integer it starts at."""


@dataclass(frozen=True)
class Annealing:
    """How the regulariser sum(1 - |2 h - 1|^beta) makes up minds.

    Args:
        weight: Of the regulariser beside the error, >= 0.
        first: beta at first, > 0: large, so that only weights near an integer are pulled there.
        last: beta at the end.
        warm_share: Share of the steps before it sets in, in [0, 1).

    Source: Nagel et al. 2020, section 3.2 and appendix.
    """

    weight: float = 0.01
    first: float = 20.0
    last: float = 2.0
    warm_share: float = 0.2

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise UsageError(f"weight of the regulariser is {self.weight}; it must be at least 0")
        if not min(self.first, self.last) > 0:
            raise UsageError(f"beta goes from {self.first} to {self.last}; it must be above 0")
        if not 0 <= self.warm_share < 1:
            raise UsageError(f"warm_share is {self.warm_share}; it must be in [0, 1)")

    def beta(self, progress: float) -> float | None:
        """beta after this share of the steps; None while the regulariser is off."""
        if progress < self.warm_share:
            return None
        return self.last + (self.first - self.last) * (1 - (progress - self.warm_share) / (1 - self.warm_share))


class SoftWeights:
    """Weights scale * (floor(w / scale) + h), h in [0, 1] learnt by a rectified sigmoid of a free variable; zeros stay.

    Args:
        weight: The float weights w; at first the soft weights are these.
        scale: Broadcasts to `weight`.
        limit: The largest integer; the smallest is its negative.
        start: Integers that the soft weights lie next to at first, each on the side of its weight; None for none.

    Source: Nagel, Amjad, van Baalen, Louizos, Blankevoort, "Up or Down? Adaptive Rounding for Post-Training
    Quantization", ICML 2020, arXiv:2004.10568, equations 21 to 24.
    """

    def __init__(self, weight: np.ndarray, scale: np.ndarray, limit: int, start: np.ndarray | None = None) -> None:
        self._scale = scale.astype(np.float32)
        steps = weight.astype(np.float32) / self._scale
        if start is not None:
            steps = start + np.clip(steps - start, -NEXT_TO, NEXT_TO)
        # A weight beyond the range has its integer; one at the end of it may still go back.
        self._floor = np.clip(np.floor(steps), -limit, limit - 1)
        part = (np.clip(steps - self._floor, 0, 1) - LOW) / (HIGH - LOW)
        self._moves = weight != 0
        self._free = np.log(part / (1 - part)).astype(np.float32)
        self._adam = Adam(self._free.shape)
        self._look()

    @property
    def values(self) -> np.ndarray:
        """The soft weights."""
        return self._scale * (self._floor + self._part)

    @property
    def integers(self) -> np.ndarray:
        """The integers that the weights lean to, float32."""
        return self._floor + (self._part >= 0.5)

    @property
    def undecided(self) -> float:
        """The share of weights further than a twentieth from an integer."""
        return float(np.mean(np.abs(self._part - 0.5) < 0.45))

    def step(self, gradient: np.ndarray, rate: float, beta: float | None, pull: float) -> None:
        """Follow the gradient of the error by the soft weights and, with a beta, that of the regulariser.

        Args:
            gradient: In the shape of the weights.
            rate: Adam's.
            beta: Of the regulariser; None for none.
            pull: Weight of the regulariser.
        """
        total = gradient * self._scale
        if beta is not None:
            lean = 2 * self._part - 1
            total -= np.float32(2 * pull * beta) * np.sign(lean) * np.abs(lean) ** np.float32(beta - 1)
        self._adam.step(self._free, total * self._slope, rate)
        self._look()

    def _look(self) -> None:
        sigmoid = 1 / (1 + np.exp(-self._free))
        stretched = np.float32(HIGH - LOW) * sigmoid + np.float32(LOW)
        self._part = np.clip(stretched, 0, 1) * self._moves
        self._slope = np.float32(HIGH - LOW) * sigmoid * (1 - sigmoid)
        self._slope *= (stretched > 0) & (stretched < 1) & self._moves
