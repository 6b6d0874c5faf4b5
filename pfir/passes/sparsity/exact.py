"""The exact optimal brain surgeon: always the weight goes whose loss is least once the others make up for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg.blas import sger

from pfir.passes.sparsity.least_squares import refitted
from pfir.passes.sparsity.patterns import Pattern, most
from pfir.system.blas import one_blas_thread

CROWDED = 0.75
"""What is gone is dropped where less than this share is left."""

Removals = tuple[np.ndarray, np.ndarray]
"""Units in the order in which they go, and what each costs in squared error beyond those before it."""


@dataclass(frozen=True, eq=False)
class ExactElimination:
    """All weights of a matrix in the order in which they may go, of which any share can be taken.

    Args:
        weight: float64 [O, F].
        gram: Positive definite, float64 [F, F].
        pattern: Of the zeros.
        taps: Features of a channel.

    Source: Frantar and Alistarh, "Optimal Brain Compression", NeurIPS 2022, arXiv:2208.11580, section 4 (ExactOBS):
    greedy within each output, then the cheapest over all outputs, and what stays solved for at once.
    """

    weight: np.ndarray
    gram: np.ndarray
    pattern: Pattern
    taps: int

    @property
    def work(self) -> int:
        """Multiplications of finding the order."""
        outputs, features = self.weight.shape
        return outputs * features**3 // (self.pattern.rows * self.pattern.width(self.taps))

    def at(self, share: float) -> np.ndarray:
        """The weight with this share of its units zero."""
        return refitted(self.weight, self._keep(share), self.gram)

    def _keep(self, share: float) -> np.ndarray:
        orders, losses = self._removals
        # A step may cost less than the one before it, but cannot be taken earlier.
        gone = ~most(np.maximum.accumulate(losses, axis=1), share)
        if self.pattern.of:
            gone[:] = True
        keep = np.ones((len(orders), self.weight.shape[1] // self.pattern.width(self.taps)), bool)
        np.put_along_axis(keep, orders, ~gone, axis=1)
        return self.pattern.spread(keep, self.taps)

    @cached_property
    def _removals(self) -> Removals:
        inverse = np.linalg.inv(self.gram).astype(np.float32)
        split = self.weight.reshape(-1, self.pattern.rows, self.weight.shape[1]).astype(np.float32)
        with one_blas_thread():  # of such small products several take many times as long
            found = [_eliminated(rows, inverse, self.pattern, self.taps) for rows in split]
        return np.stack([order for order, _ in found]), np.stack([losses for _, losses in found])


def _eliminated(weight: np.ndarray, inverse: np.ndarray, pattern: Pattern, taps: int) -> Removals:
    """The removals of outputs that go together, [rows, F]."""
    remainder = _Remainder(weight, inverse, pattern.width(taps))
    left = _Left(pattern, taps, remainder.units.size)
    order, losses = [], []
    for _ in range(left.total):
        costs = np.where(left.free[remainder.units], remainder.costs(), np.inf)
        place = int(np.argmin(costs))
        order.append(int(remainder.units[place]))
        losses.append(float(costs[place]))
        remainder.remove(place)
        left.take(order[-1])
    return np.array(order), np.array(losses)


class _Remainder:
    """The weights that are left, with the inverse for their features; what is gone is dropped now and then.

    Args:
        weight: float32 [rows, F].
        inverse: float32 [F, F].
        width: Features of a unit.

    Attributes:
        units: The unit at each place.
    """

    def __init__(self, weight: np.ndarray, inverse: np.ndarray, width: int) -> None:
        self._weight, self._inverse, self._width = weight.copy(), inverse.copy(), width
        self.units = np.arange(weight.shape[1] // width)
        self._there = np.ones(self.units.size, bool)

    def costs(self) -> np.ndarray:
        """What each unit costs if it goes next: w [H^-1]^-1 w over its features, summed over the outputs."""
        if self._width == 1:
            costs = np.square(self._weight).sum(0) / np.diag(self._inverse)
        else:
            places = np.arange(self.units.size)
            size = self.units.size, self._width
            blocks = self._inverse.reshape(*size, *size)[places, :, places]
            parts = self._weight.reshape(-1, *size).transpose(1, 2, 0)
            costs = np.sum(parts * np.linalg.solve(blocks, parts), axis=(1, 2))
        return np.where(self._there, costs, np.inf)

    def remove(self, place: int) -> None:
        """Take a unit out of the weights and of the inverse."""
        weight, inverse = self._weight, self._inverse
        part = slice(place * self._width, (place + 1) * self._width)
        back = np.linalg.solve(inverse[part, part], inverse[part])
        weight -= weight[:, part] @ back
        for column, row in zip(inverse[:, part].T.copy(), back, strict=True):
            sger(-1.0, row, column, a=inverse.T, overwrite_a=1)
        inverse[part] = inverse[:, part] = 0.0
        inverse[part, part] = np.eye(self._width)
        self._there[place] = False
        if np.count_nonzero(self._there) < CROWDED * self._there.size:
            self._drop()

    def _drop(self) -> None:
        features = self._there.repeat(self._width)
        self._weight = self._weight[:, features]
        self._inverse = np.ascontiguousarray(self._inverse[np.ix_(features, features)])
        self.units = self.units[self._there]
        self._there = self._there[self._there]


class _Left:
    """How many units may still go, of all and among neighbours.

    Attributes:
        total: How many may go in all.
        free: Which may go next.
    """

    def __init__(self, pattern: Pattern, taps: int, units: int) -> None:
        self._of, self._taps = pattern.of, taps
        groups = units // pattern.of if pattern.of else 0
        self.total = groups * (pattern.of - pattern.kept) if groups else units
        self.free = np.ones(units, bool)
        self._left = np.full(groups, pattern.of - pattern.kept)

    def take(self, unit: int) -> None:
        """Note that a unit has gone, and perhaps its neighbours must stay."""
        self.free[unit] = False
        if self._of:
            channel, tap = divmod(unit, self._taps)
            group = channel // self._of
            place = group * self._taps + tap
            self._left[place] -= 1
            if not self._left[place]:
                self.free[(group * self._of + np.arange(self._of)) * self._taps + tap] = False
