"""How far pruning can go: the cheapest candidate of a model beside the model itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pfir.compile.methods.branch_ranking import SHARE
from pfir.compile.methods.pricing import Limits, Pricing
from pfir.errors import Infeasible
from pfir.ir.coupling.groups import Branch
from pfir.report import words


@dataclass(frozen=True)
class Reach:
    """What the narrowest candidate costs.

    Args:
        pricing: Of the model's candidates.
        baseline_s: Seconds that the model itself takes.
    """

    pricing: Pricing
    baseline_s: float

    @property
    def latency_s(self) -> float:
        """Of the narrowest candidate, estimated."""
        return self.pricing.latency_s(self.pricing.narrowest())

    @property
    def speedup(self) -> float:
        """The largest that pruning can give."""
        return self.baseline_s / self.latency_s

    @property
    def macs(self) -> int:
        """Of the narrowest candidate."""
        return self.pricing.scalable.macs_at(self._kept())

    @property
    def size_bytes(self) -> int:
        """Of the narrowest candidate's weights."""
        return self.pricing.scalable.size_bytes_at(self._kept())

    def meets(self, limits: Limits) -> bool:
        """Whether pruning can meet the limits."""
        return self.pricing.within(limits)(self.pricing.narrowest()) <= 1

    def check(self, limits: Limits) -> None:
        """Return only if pruning can meet the limits.

        Raises:
            Infeasible: It cannot; the text says what can be reached.
        """
        if not self.meets(limits):
            raise Infeasible(
                f"the goal is out of reach by pruning: at most {self._at_most(limits)}; ask for less, or free more "
                "channels (pfir inspect shows what is pinned)"
            )

    def _at_most(self, limits: Limits) -> str:
        """`3.10x smaller (12.0 kB), about 4.2x faster by estimate, ..`, the limited figures first."""
        scalable, sizes = self.pricing.scalable, self.pricing.sizes
        smaller = words.ratio(scalable.size_bytes_at(sizes), self.size_bytes)
        share = self.macs / scalable.macs_at(sizes)
        facts = (
            (limits.size_bytes, f"{smaller} smaller ({words.size(self.size_bytes)})"),
            (limits.macs, f"down to {share:.3g} of the MACs ({words.count(self.macs)})"),
            (limits.latency_s, f"{words.about(self.speedup)} faster by estimate"),
        )
        return ", ".join(text for limit, text in sorted(facts, key=lambda fact: fact[0] is None))

    def _kept(self) -> dict[str, int]:
        return self.pricing.kept(self.pricing.narrowest())


def without_branches(pricing: Pricing, branches: Sequence[Branch], costly_first: bool) -> Pricing:
    """The prices where as many branches may go as a search would let go, by what they cost.

    A search lets those go that matter least, which takes trials to find out: what it can reach lies between the prices
    without the costliest branches and those without the cheapest.
    """

    def saved_s(branch: Branch) -> float:
        return -pricing.device.estimate(pricing.scalable.at(dict.fromkeys(branch.groups, 0))).seconds

    waiting, gone = sorted(branches, key=saved_s, reverse=costly_first), []
    while waiting and len(gone) < math.ceil(SHARE * len(branches)):
        gone.append(waiting[0])
        inside = {name for branch in gone for name in branch.groups}
        waiting = [branch for branch in waiting if not inside.issuperset(branch.groups)]
    return replace(pricing, branches=tuple(gone))
