"""First and second moments of what the consumers of channels read, gathered in one run over the calibration data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pfir.errors import UsageError
from pfir.ir.coupling.groups import Coupling
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, contraction, some

RIDGE = 1e-5  # Share of its own energy that each feature's diagonal is raised by at least.
NOISE = 0.1  # How much more, for each feature per row beyond `SCARCE`.
SCARCE = 0.25  # Features per row from which on a solution fits noise.
NEVER_ACTIVE = 1e-9  # Share of the mean energy that keeps features without any solvable.
ENOUGH = 16  # Rows for each feature; more barely change the least-squares solution.
AT_LEAST = 4096  # Rows for contractions of few features.


@dataclass(frozen=True)
class Moments:
    """First and second moments of the rows that a contraction reads.

    Args:
        contraction: The node that reads them (the first, where several share the weight).
        second: E[x x^T], float64 [G, F, F].
        mean: E[x], float64 [G, F].
        count: How many rows they are taken of.
        alone: Whether no other node uses the weight, so that a bias may carry the mean.
    """

    contraction: ConsumerMatrix
    second: np.ndarray
    mean: np.ndarray
    count: int
    alone: bool = True

    @property
    def centred(self) -> bool:
        """Whether a bias takes up the mean, so that only deviations from it need to be reproduced."""
        return self.alone and self.contraction.bias is not None

    def gram(self) -> np.ndarray:
        """What least squares works on, [G, F, F]: the covariance where a bias carries the mean, else E[x x^T]."""
        if not self.centred:
            return self.second
        return self.second - self.mean[:, :, None] * self.mean[:, None, :]

    @property
    def ridge(self) -> float:
        """How much least squares should distrust these moments: more where there are few rows for each feature."""
        return RIDGE + scarcity(self.second.shape[1], self.count)


Statistics = Mapping[str, Moments]
"""Weight initializer to the moments of what it is multiplied with."""


def collect(model: Model, coupling: Coupling, context: Context) -> Statistics:
    """The moments of everything that free groups feed into contractions, on the model as it is.

    What overflows on some sample is left out: nothing can be fitted to it.

    Raises:
        UsageError: The context has no calibration data, or the data is empty.
    """
    return gather(model, contractions(model, coupling), context, "least-squares reconstruction")


def gather(
    model: Model, found: Mapping[str, tuple[ConsumerMatrix, ...]], context: Context, purpose: str
) -> dict[str, Moments]:
    """The moments of what these contractions read, by weight initializer, but for those that overflow.

    Args:
        found: The contractions that share each weight.
        purpose: What needs them, as an error says it.

    Raises:
        UsageError: The context has no calibration data, or the data is empty.
    """
    if context.activations is None:
        raise UsageError(f"{purpose} needs calibration data, and none was given (--data)")
    names = sorted({c.data for shared in found.values() for c in shared})
    sums = {tensor: _Sum(shared[0]) for tensor, shared in found.items()}
    rng = np.random.default_rng(context.seed)
    for batch in context.activations(model, names) if names else ():
        for tensor, shared in found.items():
            for use in shared:
                x, total = batch[use.data], sums[tensor]
                total.add(use.rows(x, some(use.places(x.shape), total.wanted(), rng)))
    if any(total.count == 0 for total in sums.values()):
        raise UsageError(f"{purpose} needs calibration data, but there are no samples")
    moments = {tensor: sums[tensor].moments(len(shared) == 1) for tensor, shared in found.items()}
    return {tensor: m for tensor, m in moments.items() if np.isfinite(m.second).all()}


def contractions(model: Model, coupling: Coupling) -> dict[str, tuple[ConsumerMatrix, ...]]:
    """The contractions over channels of free groups by weight initializer; a weight with any other use is left out."""
    nodes = {node.name: node for node in model.nodes()}
    uses: dict[str, dict[str, set[ConsumerMatrix | None]]] = {}
    for part in (part for group in coupling.free() for part in group.consuming):
        found = contraction(nodes[part.node], part) if part.node in nodes and not part.inner else None
        uses.setdefault(part.tensor, {}).setdefault(part.node, set()).add(found)
    constants = model.initializers()
    return {
        tensor: tuple(found for (found,) in by_node.values())
        for tensor, by_node in uses.items()
        if all(len(f) == 1 and None not in f for f in by_node.values())
        and len(constants[tensor].outputs) == len(by_node)
    }


def scarcity(features: int, rows: int) -> float:
    """What to add to a ridge where few rows speak for many features."""
    return NOISE * max(0.0, features / rows - SCARCE)


def regularised(gram: np.ndarray, ridge: float) -> np.ndarray:
    """The matrix with its diagonal raised by that share; always positive definite.

    Each feature is held by its own energy, so that one that is rarely active is fitted like any other; one that never
    is gets a trace of the mean energy.
    """
    energy = np.maximum(np.diag(gram), 0)
    floor = NEVER_ACTIVE * energy.mean() if energy.any() else 1.0
    return gram + np.diag(ridge * energy + floor)


class _Sum:
    """The sums over rows that moments are made of: float32 products of one batch, float64 sums over batches."""

    def __init__(self, part: ConsumerMatrix) -> None:
        self.part, self.count = part, 0
        self.second: np.ndarray | float = 0.0
        self.first: np.ndarray | float = 0.0

    def wanted(self) -> int:
        """How many rows to take of a sample: many at first, few once there are enough, so late ones still count."""
        features = self.part.channels * self.part.taps
        return 2 if self.count > ENOUGH * features + AT_LEAST else max(16, features // 24, AT_LEAST // features)

    def add(self, rows: np.ndarray) -> None:
        rows = np.ascontiguousarray(rows, dtype=np.float64 if rows.dtype == np.float64 else np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # `collect` leaves out what overflowed.
            self.second = self.second + np.matmul(rows.swapaxes(1, 2), rows).astype(np.float64)
            self.first = self.first + rows.sum(1, dtype=np.float64)
        self.count += rows.shape[1]

    def moments(self, alone: bool) -> Moments:
        return Moments(self.part, self.second / self.count, self.first / self.count, self.count, alone)
