"""What a candidate costs, from its parameters alone: one number that is at most 1 when every goal is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

from pfir.compile.methods.base import Method, ModelCost, Parameters
from pfir.compile.request import Goals
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.space import Space


@dataclass(frozen=True)
class Limits:
    """Upper bounds; None where nothing is asked."""

    latency_s: float | None = None
    macs: float | None = None
    size_bytes: float | None = None


@dataclass(frozen=True)
class Pricing:
    """Costs of the candidates that a set of methods makes of one model.

    Args:
        methods: In the order in which they change the model.
        original: The cost of the model before any of them.
        device: Estimates latency.
        limits: What must not be exceeded.
    """

    methods: tuple[Method, ...]
    original: ModelCost
    device: EstimateDevice
    limits: Limits = Limits()

    @property
    def nouns(self) -> str:
        """What the methods are called together, such as `pruning and factorize`."""
        return " and ".join(method.noun for method in self.methods)

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to search."""
        return not self.space().parameters

    def space(self) -> Space:
        """The parameters of all methods."""
        return Space(tuple(p for method in self.methods for p in method.space().parameters))

    def snap(self, parameters: Parameters) -> dict[str, float]:
        """The parameters that will really be built."""
        return {name: value for method in self.methods for name, value in method.snap(parameters).items()}

    def warm_starts(self) -> tuple[dict[str, float], ...]:
        """The candidates that a person would try first: those of each method, side by side."""
        defaults = self.space().defaults()
        rows = zip_longest(*(method.warm_starts() for method in self.methods), fillvalue={})
        return tuple(defaults | {name: v for part in row for name, v in part.items()} for row in rows)

    def cheapest(self) -> dict[str, float]:
        """The parameters that cost least."""
        return {p.name: p.cheapest for p in self.space().parameters}

    def cost_of(self, parameters: Parameters) -> ModelCost:
        """What the model costs once all methods have changed it."""
        cost = self.original
        for method in self.methods:
            cost = method.cost(cost, parameters)
        return cost

    def latency_s(self, parameters: Parameters) -> float:
        """Estimated seconds of one inference."""
        return self.cost_of(parameters).latency_s(self.device)

    def costs(self, parameters: Parameters) -> dict[str, float]:
        """What a candidate takes, by the names of the limits."""
        cost = self.cost_of(parameters)
        seconds = cost.latency_s(self.device)
        return {"latency_s": seconds, "macs": cost.macs, "size_bytes": cost.size_bytes}

    def __call__(self, parameters: Mapping[str, float]) -> float:
        """The largest share of a limit that the candidate takes."""
        cost, shares = self.cost_of(parameters), [0.0]
        if self.limits.latency_s:
            shares.append(cost.latency_s(self.device) / self.limits.latency_s)
        if self.limits.macs:
            shares.append(cost.macs / self.limits.macs)
        if self.limits.size_bytes:
            shares.append(cost.size_bytes / self.limits.size_bytes)
        return max(shares)

    def within(self, limits: Limits) -> Pricing:
        """The same under other limits."""
        return replace(self, limits=limits)

    def of(self, methods: tuple[Method, ...]) -> Pricing:
        """The same with other methods."""
        return replace(self, methods=methods)


def limits_for(goals: Goals, latency_s: float, macs: float, size_bytes: float) -> Limits:
    """The bounds that goals put on a model of this latency, MACs and size."""
    bounds = [latency_s / goals.speedup if goals.speedup else None, goals.latency_s]
    given = [b for b in bounds if b is not None]
    return Limits(
        min(given) if given else None,
        macs * goals.macs if goals.macs else None,
        size_bytes / goals.size if goals.size else None,
    )
