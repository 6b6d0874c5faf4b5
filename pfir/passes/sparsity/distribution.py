"""How sparse each weight gets where only the whole is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pfir.passes.sparsity.task import Solution, Task

MOST = 0.99
"""The largest share of a weight that ranking all together, or a search, may take."""
LEVELS = tuple(1 - np.geomspace(1, 1 - MOST, 17))
"""Shares of zeros at which losses are measured: what stays falls by a fourth from one to the next."""
BUCKETS = 10_000
"""Steps of the budget in the dynamic programme."""

Shares = dict[str, float]
"""Initializer to the share of its units that become zero."""
Distribution = Callable[[Sequence[Task], Mapping[str, Solution], float], Shares]


def uniform(tasks: Sequence[Task], solutions: Mapping[str, Solution], sparsity: float) -> Shares:
    """Every weight by the same share."""
    del solutions
    return {task.layer.tensor: sparsity for task in tasks}


def by_magnitude(tasks: Sequence[Task], solutions: Mapping[str, Solution], sparsity: float) -> Shares:
    """The least units of all weights together, by the mean square of a unit; of each weight at most 99 % go."""
    del solutions
    return _ranked(tasks, [_energies(task) for task in tasks], sparsity)


def layer_adaptive(tasks: Sequence[Task], solutions: Mapping[str, Solution], sparsity: float) -> Shares:
    """The same by each unit's energy over that of all units of its weight that are not smaller.

    Source: Lee, Park, Mo, Ahn, Shin, "Layer-adaptive Sparsity for the Magnitude-based Pruning", ICLR 2021,
    arXiv:2010.07611, equation (5).
    """
    del solutions
    return _ranked(tasks, [_relative(_energies(task)) for task in tasks], sparsity)


def by_losses(tasks: Sequence[Task], solutions: Mapping[str, Solution], sparsity: float) -> Shares:
    """The shares of the least sum of losses with so many zeros in all, by dynamic programming.

    The loss of a weight at a level is the squared error of its layer's outputs over their energy; where nothing is
    known of what it multiplies, of its own numbers. Where the levels leave more zeros than asked for, all have less.

    Source: Frantar and Alistarh, "SPDY: Accurate Pruning with Speedup Guarantees", ICML 2022, arXiv:2201.13096,
    section 3.2, with numbers of weights for times.
    """
    levels = np.unique((*LEVELS, sparsity))
    losses = np.array([[task.error(solutions[task.layer.tensor](s)) for s in levels] for task in tasks])
    sizes = np.array([task.layer.weight.size for task in tasks])
    chosen = cheapest(losses, sizes[:, None] * (1 - levels), float(sizes.sum() * (1 - sparsity)))
    shares = np.full(len(tasks), sparsity) if chosen is None else levels[chosen]
    shares = shares * (sparsity * sizes.sum() / (shares @ sizes))
    return {task.layer.tensor: float(share) for task, share in zip(tasks, shares, strict=True)}


def cheapest(losses: np.ndarray, costs: np.ndarray, budget: float) -> list[int] | None:
    """For each row the column, so that costs stay within the budget and the sum of losses is least.

    Costs are rounded up to steps of the budget's ten-thousandth, so that it holds; None where it cannot.

    Args:
        losses, costs: [rows, columns], >= 0.
        budget: > 0.
    """
    steps = np.ceil(costs / budget * BUCKETS - 1e-6).astype(int)
    best, choices = np.zeros(BUCKETS + 1), []
    for row, step in zip(losses, steps, strict=True):
        totals = np.stack([loss + _shifted(best, int(n)) for loss, n in zip(row, step, strict=True)])
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    if not np.isfinite(best[-1]):
        return None
    found, left = [], BUCKETS
    for choice, step in zip(reversed(choices), reversed(steps), strict=True):
        found.append(int(choice[left]))
        left -= step[found[-1]]
    return found[::-1]


def _shifted(best: np.ndarray, steps: int) -> np.ndarray:
    """The least losses by what is left of the budget once so much of it is spent."""
    spent = min(steps, best.size)
    return np.concatenate([np.full(spent, np.inf), best[: best.size - spent]])


def _energies(task: Task) -> np.ndarray:
    """The mean square of each unit's weights, rising."""
    units = task.pattern.units(np.square(task.layer.rows), task.layer.taps)
    return np.sort(units.mean(axis=2), axis=None)


def _relative(energies: np.ndarray) -> np.ndarray:
    tails = np.cumsum(energies[::-1])[::-1]
    return energies / np.maximum(tails, np.finfo(float).tiny)


def _ranked(tasks: Sequence[Task], scores: Sequence[np.ndarray], sparsity: float) -> Shares:
    """The shares below the score that takes this share of all weights; one unit of a hundred stays in each."""
    counted = [each[: int(MOST * each.size)] for each in scores]
    weights = [
        np.full(own.size, task.layer.weight.size / each.size)
        for task, each, own in zip(tasks, scores, counted, strict=True)
    ]
    owner = np.repeat(np.arange(len(tasks)), [own.size for own in counted])
    order = np.argsort(np.concatenate(counted), kind="stable")
    taken = np.cumsum(np.concatenate(weights)[order])
    total = sum(task.layer.weight.size for task in tasks)
    gone = np.bincount(owner[order[: np.searchsorted(taken, sparsity * total, side="right")]], minlength=len(tasks))
    return {t.layer.tensor: float(n / each.size) for t, n, each in zip(tasks, gone, scores, strict=True)}


DISTRIBUTIONS: Mapping[str, Distribution] = {
    "uniform": uniform,
    "global": by_magnitude,
    "lamp": layer_adaptive,
    "dp": by_losses,
}
