"""Nevergrad's optimizers on a synthetic pruning problem, by which pfir's default is chosen.

    python benchmarks/optimizers.py [NAME ..]     the best loss after 20, 60 and 200 trials in 10 and in 30 dimensions

Each loss is divided by that of the uniform ratio at the same budget (geometric mean over 8 problems; lower is better).
"""

from __future__ import annotations

import sys

import numpy as np

from pfir.search import project
from pfir.search.optimizers import Optimizer
from pfir.space import Parameter, Space

NAMES = ("RandomSearch", "OnePlusOne", "CauchyOnePlusOne", "CMA", "DiagonalCMA", "TBPSA", "TwoPointsDE", "NGOpt")
TRIALS = (20, 60, 200)
LIMIT = 0.4  # of the unpruned cost
NOISE = 0.02  # of a score's value: another slice of data ranks candidates a little differently
HIGHEST = 0.95


class Net:
    """A made-up chain of layers: unequal work, unequal sensitivity with a knee, some interaction."""

    def __init__(self, layers: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        work = rng.lognormal(0, 0.7, layers)
        self.work = work / work.sum()
        self.sensitivity = rng.lognormal(0, 1.2, layers)
        self.knee = rng.uniform(0.3, 0.9, layers)
        self.mixing = np.tril(rng.normal(0, 0.3, (layers, layers)), -1) * (rng.random((layers, layers)) < 3 / layers)
        self.space = Space(tuple(Parameter(f"g{i}", 0.0, HIGHEST, 0.5) for i in range(layers)))

    def cost(self, ratios: dict[str, float]) -> float:
        kept = 1 - np.array(list(ratios.values()))
        before = np.concatenate([[1], kept[:-1]])
        return float((self.work * kept * (0.4 + 0.6 * before)).sum())

    def loss(self, ratios: dict[str, float], noise: float) -> float:
        beyond = (np.array(list(ratios.values())) - self.knee).clip(-0.5)
        harm = self.sensitivity * (np.exp(3 * beyond) - np.exp(-1.5))
        return float((harm.sum() + np.sqrt(abs(harm @ self.mixing @ harm))) * (1 + NOISE * noise))


def best_loss(name: str, layers: int, trials: int, seed: int) -> float:
    """The best loss of a search, in units of the loss of the uniform ratio."""
    net, noise = Net(layers, seed), np.random.default_rng(100 + seed)
    start = net.space.defaults()
    optimizer = Optimizer(net.space, seed, trials, 1, (start,), name)
    losses = []
    for _ in range(trials):
        asked, handle = optimizer.ask()
        losses.append(net.loss(project(asked, net.cost, LIMIT, net.space), noise.standard_normal()))
        optimizer.tell(handle, losses[-1])
    return min(losses) / net.loss(project(start, net.cost, LIMIT, net.space), 0.0)


def main() -> None:
    print(f"{'':20}" + "".join(f"{f'{n} dim, {t}':>14}" for n in (10, 30) for t in TRIALS))
    for name in sys.argv[1:] or NAMES:
        cells = [[best_loss(name, n, t, seed) for seed in range(8)] for n in (10, 30) for t in TRIALS]
        print(f"{name:20}" + "".join(f"{np.exp(np.mean(np.log(cell))):14.3f}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
