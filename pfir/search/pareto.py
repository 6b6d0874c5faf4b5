"""The trials that no other trial beats in both cost and score."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pfir.search.problem import Trial


def pareto(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The front by rising cost, each with a higher score than all cheaper ones; failed trials are left out."""
    front: list[Trial] = []
    highest = -math.inf
    for score, trial in sorted(_scored(trials), key=lambda found: (found[1].cost, -found[0], found[1].number)):
        if score > highest:
            front.append(trial)
            highest = score
    return tuple(front)


def best(trials: Iterable[Trial]) -> Trial | None:
    """The trial of the highest score, the cheapest and then the first among equals; None if all failed."""
    ranked = min(_scored(trials), key=lambda found: (-found[0], found[1].cost, found[1].number), default=None)
    return None if ranked is None else ranked[1]


def _scored(trials: Iterable[Trial]) -> list[tuple[float, Trial]]:
    return [(trial.score, trial) for trial in trials if trial.score is not None]
