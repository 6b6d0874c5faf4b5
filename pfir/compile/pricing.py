"""What a candidate costs, from its widths alone: one number that is at most 1 when every goal is met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pfir.compile.request import Goals
from pfir.devices.estimate import EstimateDevice
from pfir.ir.channels import Coupling, Group
from pfir.ir.scalable import ScalableKernels
from pfir.passes.prune_channels import HIGHEST_RATIO, kept_channels
from pfir.space import Parameter, Space

PREFIX = "ratio:"


@dataclass(frozen=True)
class Limits:
    """Upper bounds; None where nothing is asked."""

    latency_s: float | None = None
    macs: float | None = None
    size_bytes: float | None = None


@dataclass(frozen=True)
class Pricing:
    """Costs of candidates of one model. Candidates are plain dictionaries `ratio:<group>` -> share removed.

    Args:
        scalable: The model's kernels as functions of its widths.
        device: Estimates their latency.
        groups: The free groups by name.
        align: Widths are snapped to multiples of this many channels.
        limits: What must not be exceeded.
    """

    scalable: ScalableKernels
    device: EstimateDevice
    groups: Mapping[str, Group]
    align: int
    limits: Limits

    @property
    def sizes(self) -> dict[str, int]:
        """Channels of each free group."""
        return {n: g.size for n, g in self.groups.items()}

    def ratios(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """Share removed by group name."""
        return {n: parameters[PREFIX + n] for n in self.groups}

    def space(self, start: float) -> Space:
        """One ratio a group."""
        return Space(tuple(Parameter(PREFIX + g, 0.0, HIGHEST_RATIO, start) for g in self.groups))

    def kept(self, parameters: Mapping[str, float]) -> dict[str, int]:
        """Channels that each group keeps: never more removed than asked, a multiple of `align` where there is one."""
        return {n: kept_channels(g, parameters[PREFIX + n], self.align) for n, g in self.groups.items()}

    def snap(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """The ratios that will really be built."""
        return {PREFIX + g: 1 - k / self.groups[g].size for g, k in self.kept(parameters).items()}

    def latency_s(self, parameters: Mapping[str, float]) -> float:
        """Estimated seconds of one inference."""
        return self.device.estimate(self.scalable.at(self.kept(parameters))).seconds

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
