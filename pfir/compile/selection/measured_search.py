"""A search whose best candidate is measured, repeated under a tighter limit until the device confirms it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.methods.pricing import Limits
from pfir.compile.selection.comparing import with_rivals
from pfir.compile.selection.fitted_search import best_fitted
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, search_for
from pfir.compile.selection.selection import Selection
from pfir.compile.selection.size_goal import SizeGoal
from pfir.errors import Infeasible

ROUNDS = 3
"""Searches at most, each with a tighter limit, when a device measures less speed-up than the estimate promised."""
MARGIN = 0.98
MOST_PACKED = 8
"""Fitted candidates that are packed at most, to see whether they keep a goal of size."""


@dataclass(frozen=True)
class _Attempt:
    """A search under some limits, and the best candidate's share of the latency that the goals allow."""

    limits: Limits
    found: Found
    excess: float


def measured_search(selection: Selection, search_context: SearchContext) -> tuple[Found, tuple[str, ...]]:
    """The best candidate, fitted; where a device measures, the first that it confirms.

    Where none confirms it, the one that came nearest is delivered, and a note says so.
    """
    run = selection.run
    goal, left = selection.size_goal, iter(range(MOST_PACKED))
    nearest = _small_enough(search_context, goal, min(_attempts(selection, search_context), key=_beyond))
    allowed = max(nearest.excess, 1.0)
    notes = () if nearest.excess <= 1 else (_missed(nearest),)

    def keeps(candidate: Found) -> bool:
        if selection.excess(candidate) > allowed:
            return False
        return goal is None or (next(left, None) is not None and goal.keeps(candidate))

    with run.stages("fit layers"):
        how = selection.how(selection.workspace.journal(fitted=True), run.plan.fitting_ends(selection.elapsed_s))
        best = best_fitted(search_context, nearest.limits, nearest.found, how, keeps)
        return with_rivals(search_context, best, selection.rivals, how, keeps), notes


def _beyond(attempt: _Attempt) -> float:
    return max(attempt.excess, 1.0)


def _small_enough(search_context: SearchContext, goal: SizeGoal | None, attempt: _Attempt) -> _Attempt:
    """The attempt with a candidate whose packed file keeps a goal of size, and limits that made it so."""
    if goal is None:
        return attempt
    limits, found = goal.corrected(search_context, attempt.limits, attempt.found)
    return replace(attempt, limits=limits, found=found)


def _attempts(selection: Selection, search_context: SearchContext) -> list[_Attempt]:
    """Searches, the last of which found what keeps the limit when it is measured, or was one too many."""
    run, limits = selection.run, selection.limits
    attempts: list[_Attempt] = []
    while len(attempts) < ROUNDS:
        number = len(attempts)
        with run.stages("search" if not number else f"search again ({number + 1})"):
            how = selection.how(selection.workspace.journal(number), run.plan.choosing_ends(selection.elapsed_s))
            try:
                found = search_for(search_context, limits, how)
            except Infeasible:
                if not attempts:
                    raise
                break
        attempts.append(_Attempt(limits, found, selection.excess(found)))
        if (excess := attempts[-1].excess) <= 1:
            break
        run.progress.note(f"measured, it takes {excess:.2f} times what is allowed; the limit is tightened")
        limits = replace(limits, latency_s=limits.latency_s / excess * MARGIN)
    return attempts


def _missed(nearest: _Attempt) -> str:
    return (
        f"The device measured {nearest.excess:.2f} times the latency that the goal allows for the best candidate; "
        "no narrower one was confirmed. This one came nearest."
    )
