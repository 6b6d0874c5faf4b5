"""The candidates of a search that deserve a second look: the best, and the best of those unlike it."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.search import Trial

MOST = 8
DISTANCE = 0.04
"""Two candidates are unlike each other when their ratios differ by this much on average."""


def finalists(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """At least one and at most `MOST` trials, best first; each differs from all better ones by `DISTANCE` or more.

    An optimizer that improves on its best leaves many near twins behind it, which would rank alike again.

    Args:
        trials: At least one of them has a score.
    """
    chosen: list[Trial] = []
    for trial in sorted((t for t in trials if t.score is not None), key=lambda t: (-t.score, t.cost, t.number)):
        if all(_distance(trial, other) >= DISTANCE for other in chosen):
            chosen.append(trial)
        if len(chosen) == MOST:
            break
    return tuple(chosen)


def _distance(one: Trial, other: Trial) -> float:
    """The mean absolute difference of their parameters."""
    return sum(abs(one.parameters[n] - other.parameters[n]) for n in one.parameters) / len(one.parameters)
