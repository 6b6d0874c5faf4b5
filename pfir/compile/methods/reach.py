"""How far a set of methods can go: the cheapest candidate of a model beside the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pfir.compile.methods.base import ModelCost
from pfir.compile.methods.pricing import Limits, Pricing
from pfir.errors import Infeasible
from pfir.report import wording


@dataclass(frozen=True)
class Reach:
    """What the cheapest candidate costs.

    Args:
        pricing: Of the model's candidates.
        baseline_s: Seconds that the model itself takes.
    """

    pricing: Pricing
    baseline_s: float

    @property
    def latency_s(self) -> float:
        """Estimated seconds of the cheapest candidate."""
        return self.pricing.latency_s(self.pricing.cheapest())

    @property
    def speedup(self) -> float:
        """The largest that the methods can give."""
        return self.baseline_s / self.latency_s

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the cheapest candidate."""
        return self._least.macs

    @property
    def size_bytes(self) -> int:
        """Bytes of the cheapest candidate's weights."""
        return self._least.size_bytes

    def meets(self, limits: Limits) -> bool:
        """Whether the methods can meet the limits."""
        return self.pricing.within(limits)(self.pricing.cheapest()) <= 1

    def check(self, limits: Limits) -> None:
        """Return only if the methods can meet the limits.

        Raises:
            Infeasible: They cannot; the text says what can be reached.
        """
        if not self.meets(limits):
            raise Infeasible(
                f"the goal is out of reach by {self.pricing.nouns}: at most {self._at_most(limits)}; ask for less, or "
                "free more channels (pfir inspect shows what is pinned)"
            )

    def _at_most(self, limits: Limits) -> str:
        """`3.10x smaller (12.0 kB), about 4.2x faster by estimate, ..`, the limited figures first."""
        whole, smallest = self.pricing.original, self.size_bytes
        facts = (
            (
                limits.size_bytes,
                f"{wording.ratio(whole.size_bytes, smallest)} smaller ({wording.size(smallest)})",
            ),
            (limits.macs, f"down to {self.macs / whole.macs:.3g} of the MACs ({wording.count(self.macs)})"),
            (limits.latency_s, f"{wording.about(self.speedup)} faster by estimate"),
        )
        return ", ".join(text for limit, text in sorted(facts, key=lambda fact: fact[0] is None))

    @cached_property
    def _least(self) -> ModelCost:
        return self.pricing.cost_of(self.pricing.cheapest())
