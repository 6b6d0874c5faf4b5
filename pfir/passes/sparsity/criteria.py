"""Which weights go, by the criteria of the literature, and what the others of their outputs become."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pfir.passes.sparsity.exact import ExactElimination
from pfir.passes.sparsity.least_squares import refitted
from pfir.passes.sparsity.sparsegpt import sparsegpt as _sparsegpt
from pfir.passes.sparsity.task import Solution, Task

MOST_WORK = 4 * 10**10
"""Multiplications of the exact order, some ten seconds; layers of more go by SparseGPT."""

Criterion = Callable[[Task], Solution]


def magnitude(task: Task) -> Solution:
    """The least weights go, units by their norm.

    Source: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks", NIPS 2015,
    arXiv:1506.02626, section 3.
    """
    return _by_scores(task, np.square(task.layer.rows))


def movement(task: Task) -> Solution:
    """The weights go that training moves towards zero; by magnitude where no gradient is known.

    Source: Sanh, Wolf, Rush, "Movement Pruning: Adaptive Sparsity by Fine-Tuning", NeurIPS 2020, arXiv:2005.07683,
    section 3, equation (6).
    """
    return magnitude(task) if task.movement is None else _by_scores(task, task.movement)


def wanda(task: Task) -> Solution:
    """The weights go whose product with the norm of what they multiply is least; by magnitude where that is unknown.

    Source: Sun, Liu, Bair, Kolter, "A Simple and Effective Pruning Approach for Large Language Models", ICLR 2024,
    arXiv:2306.11695, section 3. Ours ranks all weights of a layer together, which the paper finds as good for images.
    """
    if task.moments is None:
        return magnitude(task)
    groups, outputs, features = task.layer.weight.shape
    energy = np.diagonal(task.moments.second, axis1=1, axis2=2).reshape(groups, 1, features)
    return _by_scores(task, np.square(task.layer.rows) * energy.repeat(outputs, axis=1).reshape(-1, features))


def sparsegpt(task: Task) -> Solution:
    """Features go in turn, those behind making up for them; see `sparsegpt.sparsegpt`."""
    if task.moments is None:
        return magnitude(task)
    gram, taps = task.gram(), task.layer.taps
    return lambda share: np.stack(
        [_sparsegpt(w, g, task.pattern, taps, share) for w, g in zip(task.layer.weight, gram, strict=True)]
    )


def obc(task: Task) -> Solution:
    """The exact optimal brain surgeon; of large layers SparseGPT's zeros, and what stays solved for at once.

    See `exact.ExactElimination`.
    """
    if task.moments is None:
        return magnitude(task)
    pairs = zip(task.layer.weight, task.gram(), strict=True)
    parts = [ExactElimination(w, g, task.pattern, task.layer.taps) for w, g in pairs]
    if sum(part.work for part in parts) > MOST_WORK:
        return reconstructed(task, sparsegpt(task))
    return lambda share: np.stack([part.at(share) for part in parts])


def reconstructed(task: Task, solution: Solution) -> Solution:
    """The same zeros, the other weights solved for by least squares."""
    if task.moments is None:
        return solution
    gram = task.gram()

    def solve(share: float) -> np.ndarray:
        weight = solution(share)
        return np.stack([refitted(w, v != 0, g) for w, v, g in zip(task.layer.weight, weight, gram, strict=True)])

    return solve


def _by_scores(task: Task, scores: np.ndarray) -> Solution:
    return lambda share: task.masked(task.pattern.keep(scores, task.layer.taps, share))


CRITERIA: Mapping[str, Criterion] = {
    "magnitude": magnitude,
    "movement": movement,
    "wanda": wanda,
    "obc": obc,
    "sparsegpt": sparsegpt,
}
MEASURED = ("wanda", "obc", "sparsegpt")
"""Criteria that look at what a weight is multiplied with."""
