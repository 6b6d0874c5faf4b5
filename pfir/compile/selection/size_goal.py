"""A goal of size while channels, zeros and bits are searched: candidates are priced, packed to tell, and corrected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pfir.compile.methods.few_bits import ChosenBits
from pfir.compile.methods.pricing import Limits
from pfir.compile.methods.reach import Reach
from pfir.compile.precision.sizes import SPARE, Sizes, sizes_of
from pfir.compile.request import Request
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, built_by
from pfir.errors import Infeasible
from pfir.ir.model import Model
from pfir.report import wording
from pfir.search import project

AIM = 1.01
"""Candidates are priced to be so much smaller than is asked: no two pack quite alike."""
CALIBRATIONS, CORRECTIONS = 2, 4
"""Candidates that are packed before a search, and after it, at most."""
_STEP = 0.998

Deliver = Callable[[Model, float | None], Model]
"""A candidate as it will be delivered, its numbers found quickly: its model, and bits on average where it has some."""


@dataclass(frozen=True)
class SizeGoal:
    """How many times smaller a result is to be, and what that allows a candidate to be priced at.

    Args:
        request: Names the original's files.
        size: How many times smaller.
        deliver: Makes a candidate what is packed.
        sizes: Of a model that was packed.
        priced_bytes: What that model is priced at.
    """

    request: Request
    size: float
    deliver: Deliver
    sizes: Sizes
    priced_bytes: float

    def check(self, search_context: SearchContext, nouns: str) -> None:
        """Return only if the goal can be met.

        Args:
            nouns: What it would be met by.

        Raises:
            Infeasible: It cannot; the text says what can be reached.
        """
        reach = Reach(search_context.pricing, search_context.baseline_s)
        least = self.sizes.with_weights(reach.size_bytes / self.priced_bytes)
        if not least.reach(self.size):
            raise Infeasible(out_of_reach(nouns, least))

    def keeps(self, found: Found) -> bool:
        """Whether a candidate's packed file is small enough."""
        return self._is_small(self._packed(found))

    def limited(self, limits: Limits) -> Limits:
        """The limits with what a candidate may be priced at."""
        share = min(1.0, self.sizes.share_for(AIM * self.size))
        return replace(limits, size_bytes=max(1.0, self.priced_bytes * share))

    def calibrated(self, search_context: SearchContext, limits: Limits) -> SizeGoal:
        """The goal as candidates within the limits tell it, which do not pack quite like the whole."""
        goal, start = self, search_context.pricing.warm_starts()[0]
        try:
            for _ in range(CALIBRATIONS):
                goal = goal._told_by(search_context, _projected(search_context, goal.limited(limits), start))
        except Infeasible:
            pass  # what is out of reach, the search says
        return goal

    def corrected(self, search_context: SearchContext, limits: Limits, found: Found) -> tuple[Limits, Found]:
        """A candidate moved onto ever tighter limits until its packed file is small enough, and these limits.

        Where the methods cannot go that far, the last candidate that they can make.
        """
        for _ in range(CORRECTIONS):
            goal = self._told_by(search_context, found)
            if self._is_small(goal.sizes) or limits.size_bytes is None:
                break
            bound = min(limits.size_bytes, goal.limited(limits).size_bytes or limits.size_bytes, goal.priced_bytes)
            limits = replace(limits, size_bytes=_STEP * bound)
            try:
                smaller = _projected(search_context, limits, found.parameters)
            except Infeasible:
                break
            found = replace(smaller, trials=found.trials, seconds=found.seconds, finalists=found.finalists)
        return limits, found

    def _told_by(self, search_context: SearchContext, found: Found) -> SizeGoal:
        priced = search_context.pricing.cost_of(found.parameters).size_bytes
        return replace(self, sizes=self._packed(found), priced_bytes=float(priced))

    def _packed(self, found: Found) -> Sizes:
        return sizes_of(self.request, self.deliver(found.model, average_bits(found)))

    def _is_small(self, sizes: Sizes) -> bool:
        return sizes.reach(SPARE * self.size)


def average_bits(found: Found) -> float | None:
    """Bits on average that a candidate's weights are to have; None where that is not searched."""
    return next((choice.average for choice in found.choices if isinstance(choice, ChosenBits)), None)


def out_of_reach(nouns: str, least: Sizes) -> str:
    """What is reached at most."""
    packed = wording.size(least.files.packed_bytes)
    return (
        f"the goal is out of reach by {nouns}: at most {least.times:.2f}x smaller ({packed} packed); ask for less, or "
        "free more channels (pfir inspect shows what is pinned)"
    )


def _projected(search_context: SearchContext, limits: Limits, parameters: Mapping[str, float]) -> Found:
    pricing = search_context.pricing.within(limits)
    built = project(dict(parameters), pricing, 1.0, pricing.space(), pricing.snap)
    return replace(built_by(search_context, built), parameters=built)
