"""The trials that no other trial beats in both cost and score."""

from __future__ import annotations

from collections.abc import Iterable

from pfir.search.problem import Trial


def pareto(trials: Iterable[Trial]) -> tuple[Trial, ...]:
    """The front by rising cost, each with a higher score than all cheaper ones; failed trials are left out."""
    scored = [trial for trial in trials if trial.score is not None]
    front: list[Trial] = []
    for trial in sorted(scored, key=lambda t: (t.cost, -t.score, t.number)):
        if not front or trial.score > front[-1].score:
            front.append(trial)
    return tuple(front)


def best(trials: Iterable[Trial]) -> Trial | None:
    """The trial of the highest score, the cheapest and then the first among equals; None if all failed."""
    scored = [trial for trial in trials if trial.score is not None]
    return min(scored, key=lambda t: (-t.score, t.cost, t.number), default=None)
