"""What a candidate costs, from its widths alone: one number that is at most 1 when every goal is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pfir.compile.request import Goals
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.groups import Branch, Coupling, Group
from pfir.passes.pruning.prune_channels import HIGHEST_RATIO, kept_channels
from pfir.space import Parameter, Space

PREFIX = "ratio:"
BRANCHES = "branches"


@dataclass(frozen=True)
class Limits:
    """Upper bounds; None where nothing is asked."""

    latency_s: float | None = None
    macs: float | None = None
    size_bytes: float | None = None


@dataclass(frozen=True)
class Pricing:
    """Costs of candidates of one model: plain dictionaries `ratio:<group>` -> share removed, and how many branches go.

    Args:
        scalable: The model's kernels as functions of its widths.
        device: Estimates their latency.
        groups: The free groups by name.
        align: Widths are snapped to multiples of this many channels.
        limits: What must not be exceeded.
        branches: Those that may go, the first first.
    """

    scalable: ScalableKernels
    device: EstimateDevice
    groups: Mapping[str, Group]
    align: int
    limits: Limits
    branches: tuple[Branch, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Channels of each free group."""
        return {n: g.size for n, g in self.groups.items()}

    def ratios(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Share removed by group name."""
        return {n: parameters[PREFIX + n] for n in self.groups}

    def space(self, start: float) -> Space:
        """One ratio a group, and where there are branches how many of them go."""
        ratios = tuple(Parameter(PREFIX + g, 0.0, HIGHEST_RATIO, start) for g in self.groups)
        most = (Parameter(BRANCHES, 0.0, float(len(self.branches)), 0.0, held=True),) if self.branches else ()
        return Space(ratios + most)

    def narrowest(self) -> dict[str, float]:
        """The cheapest candidate of the space."""
        return {p.name: p.high for p in self.space(0.0).parameters}

    def gone(self, parameters: Mapping[str, float]) -> tuple[str, ...]:
        """The groups that go whole, with their branches."""
        count = round(parameters.get(BRANCHES, 0.0))
        return tuple(dict.fromkeys(name for branch in self.branches[:count] for name in branch.groups))

    def kept(self, parameters: Mapping[str, float]) -> dict[str, int]:
        """Channels that each group keeps: never more removed than asked, a multiple of `align` where there is one."""
        return self._widths(parameters) | dict.fromkeys(self.gone(parameters), 0)

    def snap(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """The ratios that will really be built; those of groups that go whole are as if they did not."""
        ratios = {PREFIX + g: 1 - k / self.groups[g].size for g, k in self._widths(parameters).items()}
        return ratios | ({BRANCHES: float(round(parameters[BRANCHES]))} if self.branches else {})

    def _widths(self, parameters: Mapping[str, float]) -> dict[str, int]:
        return {n: kept_channels(g, parameters[PREFIX + n], self.align) for n, g in self.groups.items()}

    def latency_s(self, parameters: Mapping[str, float]) -> float:
        """Estimated seconds of one inference."""
        return self.device.estimate(self.scalable.at(self.kept(parameters))).seconds

    def costs(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """What a candidate takes, by the names of the limits."""
        kept = self.kept(parameters)
        return {
            "latency_s": self.latency_s(parameters),
            "macs": self.scalable.macs_at(kept),
            "size_bytes": self.scalable.size_bytes_at(kept),
        }

    def __call__(self, parameters: Mapping[str, float]) -> float:
        """The largest share of a limit that the candidate takes."""
        kept = self.kept(parameters)
        shares = [0.0]
        if self.limits.latency_s:
            shares.append(self.device.estimate(self.scalable.at(kept)).seconds / self.limits.latency_s)
        if self.limits.macs:
            shares.append(self.scalable.macs_at(kept) / self.limits.macs)
        if self.limits.size_bytes:
            shares.append(self.scalable.size_bytes_at(kept) / self.limits.size_bytes)
        return max(shares)

    def within(self, limits: Limits) -> Pricing:
        """The same under other limits."""
        return replace(self, limits=limits)


def pricing(
    coupling: Coupling, scalable: ScalableKernels, device: EstimateDevice, align: int, limits: Limits
) -> Pricing:
    """The prices of a model's candidates."""
    return Pricing(scalable, device, {g.name: g for g in coupling.free()}, align, limits)


def limits_for(goals: Goals, latency_s: float, macs: float, size_bytes: float) -> Limits:
    """The bounds that goals put on a model of this latency, MACs and size."""
    bounds = [latency_s / goals.speedup if goals.speedup else None, goals.latency_s]
    given = [b for b in bounds if b is not None]
    return Limits(
        min(given) if given else None,
        macs * goals.macs if goals.macs else None,
        size_bytes / goals.size if goals.size else None,
    )
