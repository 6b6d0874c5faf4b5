"""Which residual branches a network can do without, and in what order they should go."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import numpy as np

from pfir.compile.deadline import NEVER, Deadline
from pfir.data.base import Dataset
from pfir.ir.coupling.groups import Branch, Coupling
from pfir.ir.model import Model
from pfir.run.evaluate import evaluate, reference

BRANCHES = "branches"
"""The parameter that says how many branches go."""
SHARE = 0.5
"""Of all branches, at most: beyond it a network collapses before it gets faster."""
SAMPLES = 3
"""One of so many scoring samples judges branches. By 64 samples the first five branches of ResNet-56 cost a divergence
of 0.26, by 256 one of 0.10."""


def ranked_branches(
    model: Model,
    coupling: Coupling,
    without: Callable[[tuple[Branch, ...]], Model],
    scoring: Dataset,
    deadline: Deadline = NEVER,
) -> tuple[Branch, ...]:
    """The branches that may go, each the one whose going, beside those before it, moves the outputs least.

    A branch is judged anew only while it might be the next: what going costs rarely falls as others go (lazy greedy).
    Once the deadline has passed no more are ranked: those found by then may go.

    Args:
        model: The model with all its branches.
        coupling: Its channels and branches.
        without: The model without some branches, the rest making up for them.
        scoring: Samples, of which one in `SAMPLES` judges.

    Source: Minoux, "Accelerated greedy algorithms for maximizing submodular set functions", 1978, for the laziness.
    """
    branches = coupling.branches
    if not branches:
        return ()
    data = scoring.subset(np.arange(-(-len(scoring) // SAMPLES)))
    theirs = reference(model, data)
    costs = [(0.0, number) for number in range(len(branches))]
    gone: list[Branch] = []
    while len(gone) < math.ceil(SHARE * len(branches)) and costs:
        judged: set[int] = set()
        while (number := heapq.heappop(costs)[1]) not in judged:
            if deadline.passed:
                return tuple(gone)
            judged.add(number)
            left = without((*gone, branches[number]))
            heapq.heappush(costs, (evaluate(left, data, theirs).divergence, number))
        gone.append(branches[number])
        inside = {name for branch in gone for name in branch.groups}
        costs = [c for c in costs if not inside.issuperset(branches[c[1]].groups)]
        heapq.heapify(costs)
    return tuple(gone)
