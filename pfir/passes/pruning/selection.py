"""Which channels a group's consumers miss least, told from the moments of what they read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pfir.ir.coupling.groups import Group
from pfir.ir.model import Model
from pfir.passes.pruning.moments import Moments, Statistics, regularised

ELIMINATION_STEPS = 128  # Groups of fewer than twice as many channels lose one at a time.
LASSO_STEPS = 60
LASSO_RANGE = 1e-4  # The path's last penalty, as a share of its first.
LASSO_SWEEPS = 200
LASSO_TOLERANCE = 1e-7


def elimination(model: Model, group: Group, statistics: Statistics) -> np.ndarray | None:
    """What removing each channel costs when its turn comes, [size]; None where no consumer can be followed.

    Channels go one by one (a few at a time in wide groups), those first whose loss all consumers together make up for
    best; the others' weights are updated as they go. A cost is the share of the consumers' output variance lost up to
    then, so it rises with the order of removal, and groups can be compared.

    Source: Hassibi, Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992, section 3,
    for the updates; Kurtic, Frantar, Alistarh, "ZipLM", NeurIPS 2023, arXiv:2302.04089, section 3.1, for whole
    structures at once. Ours sums over all consumers of a coupled group, each relative to its own output.
    """
    problems = list(_problems(model, group, statistics))
    if not problems:
        return None
    alive = np.arange(group.size)
    scores, lost = np.zeros(group.size), 0.0
    while alive.size:
        costs = np.maximum(sum(p.costs(alive) for p in problems), 0)
        order = np.argsort(costs, kind="stable")[: max(1, group.size // ELIMINATION_STEPS)]
        scores[alive[order]] = lost + np.cumsum(costs[order])
        lost = float(scores[alive[order[-1]]])
        for problem in problems:
            problem.remove(alive[order])
        alive = np.delete(alive, order)
    return scores


def lasso(model: Model, group: Group, statistics: Statistics) -> np.ndarray | None:
    """The largest penalty at which a channel is still in use, [size], as a share of the first; None as above.

    Minimises E||Y - sum_c beta_c Y_c||^2 + penalty |beta|_1 along a falling path of penalties, where Y_c is what
    channel c contributes to the consumers' outputs Y.

    Source: He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, arXiv:1707.06168,
    section 3.1, step (i). Ours sums over all consumers of a coupled group and needs only moments.
    """
    quadratic = sum(p.contributions() for p in _problems(model, group, statistics))
    if np.isscalar(quadratic):
        return None
    linear = quadratic.sum(1)
    first = np.abs(linear).max() or 1.0
    beta, scores = np.zeros(group.size), np.zeros(group.size)
    for penalty in first * np.geomspace(1.0, LASSO_RANGE, LASSO_STEPS):
        beta = _descend(quadratic, linear, penalty, beta)
        scores = np.where((scores == 0) & (beta != 0), penalty / first, scores)
        if scores.all():
            break
    # Channels that never came into use are told apart by what they contribute.
    return np.where(scores > 0, scores, LASSO_RANGE * 0.5 * np.abs(linear) / first)


@dataclass
class _Problem:
    """One convolution group of one consumer: its weight [O, F], G^-1 [F, F], and which features each channel owns."""

    weight: np.ndarray
    gram: np.ndarray
    inverse: np.ndarray
    features: np.ndarray
    energy: float

    def costs(self, channels: np.ndarray) -> np.ndarray:
        """The cost of each channel: E||error||^2 over the output's variance if it goes and the rest make up for it."""
        own = self.features[channels]
        blocks = self.inverse[own[:, :, None], own[:, None, :]]
        weights = self.weight[:, own].swapaxes(0, 1)  # [n, O, taps]
        return np.einsum("not,nto->n", weights, np.linalg.solve(blocks, weights.swapaxes(1, 2))) / self.energy

    def remove(self, channels: np.ndarray) -> None:
        """Take the channels' features out: the other weights make up for them, the inverse is that of the rest."""
        own = self.features[channels].ravel()
        # One step of block elimination: it leaves the inverse of the Gram matrix without these rows and columns.
        step = np.linalg.solve(self.inverse[np.ix_(own, own)], self.inverse[own])
        self.weight -= self.weight[:, own] @ step
        self.inverse -= self.inverse[:, own] @ step
        self.weight[:, own] = 0

    def contributions(self) -> np.ndarray:
        """The products E<Y_c, Y_d> of the channels' shares of the output, [C, C], over the output's variance."""
        count, taps = self.features.shape
        order = self.features.ravel()
        energy = (self.weight.T @ self.weight)[np.ix_(order, order)] * self.gram[np.ix_(order, order)]
        return energy.reshape(count, taps, count, taps).sum((1, 3)) / self.energy


def _problems(model: Model, group: Group, statistics: Statistics) -> Iterator[_Problem]:
    constants = model.initializers()
    for tensor in dict.fromkeys(part.tensor for part in group.consuming):
        if tensor not in statistics:
            continue
        moments: Moments = statistics[tensor]
        part = moments.contraction
        positions = np.concatenate([p.positions for p in group.consuming if p.tensor == tensor][:1], axis=1)
        features = part.features(positions).reshape(group.size, -1)
        for weight, gram in zip(part.matrix(constants[tensor].values), moments.gram(), strict=True):
            energy = float(np.einsum("of,fg,og->", weight, gram, weight, optimize=True))
            if energy > 0:
                inverse = np.linalg.inv(regularised(gram, moments.ridge))
                yield _Problem(weight.copy(), gram, inverse, features, energy * part.groups)


def _descend(quadratic: np.ndarray, linear: np.ndarray, penalty: float, beta: np.ndarray) -> np.ndarray:
    """Minimise beta' Q beta / 2 - linear beta + penalty |beta|_1 by coordinate descent."""
    beta, diagonal = beta.copy(), np.diag(quadratic)
    pull = linear - quadratic @ beta  # minus the gradient of all but the penalty
    for _ in range(LASSO_SWEEPS):
        moved = 0.0
        for c in np.flatnonzero(diagonal > 0):
            target = pull[c] + diagonal[c] * beta[c]
            # The exact minimum along one coordinate: the penalty shrinks it, and keeps it at zero if it is small.
            new = np.sign(target) * max(abs(target) - penalty, 0.0) / diagonal[c]
            if new != beta[c]:
                pull -= quadratic[:, c] * (new - beta[c])
                moved = max(moved, abs(new - beta[c]))
                beta[c] = new
        if moved < LASSO_TOLERANCE:
            break
    return beta
