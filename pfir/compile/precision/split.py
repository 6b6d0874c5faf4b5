"""Which layers take less time in eight bits than in floats, the conversions between them priced in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pfir.artifact import Kernel
from pfir.compile.methods.pricing import Limits
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.model_cost import Cost, model_cost
from pfir.ir.model import Model
from pfir.passes.quantization.placement import place

LEAST_GAIN = 0.05
"""Of the time: less is below what estimates err by, and every layer in eight bits costs some accuracy."""
MOST_TOGGLES = 16
"""Layers that are tried the other way, those that matter least first: of the others their own kernels say enough."""


@dataclass(frozen=True)
class Prices:
    """What one model takes, its layers in one precision or another.

    Args:
        model: Float.
        sizing: How it is looked at.
        device: Estimates latency.
        kept: Layers that stay float, by the name of their node.
    """

    model: Model
    sizing: Sizing
    device: EstimateDevice
    kept: tuple[str, ...] = ()
    _known: dict[Precision, tuple[Kernel, ...]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """The layers that may compute in eight bits, by the name of their node."""
        return tuple(name for name in place(self.sizing.fixed(self.model)).layers if name not in self.kept)

    @property
    def integers(self) -> Precision:
        """All of them in eight bits."""
        return Precision(True, self.kept)

    def seconds(self, precision: Precision) -> float:
        """Estimated seconds of one inference."""
        return self.device.estimate(self._kernels(precision)).seconds

    def by_kernel(self, precision: Precision) -> dict[str, float]:
        """Seconds of each kernel by name, those of one name together."""
        found: dict[str, float] = {}
        for kernel in self._kernels(precision):
            found[kernel.name] = found.get(kernel.name, 0.0) + self.device.seconds(kernel)
        return found

    def meets(self, precision: Precision, limits: Limits) -> bool:
        """Whether the model as it is keeps the limits."""
        if limits.latency_s is not None and self.seconds(precision) > limits.latency_s:
            return False
        cost = self.cost(precision)
        macs, size = limits.macs, limits.size_bytes
        return (macs is None or cost.macs <= macs) and (size is None or cost.size_bytes <= size)

    def cost(self, precision: Precision) -> Cost:
        """Its size and its multiply-accumulates."""
        return model_cost(self._seen(precision).seen(self.model))

    def _kernels(self, precision: Precision) -> tuple[Kernel, ...]:
        if precision not in self._known:
            sizing = self._seen(precision)
            self._known[precision] = sizing.kernels(sizing.seen(self.model))
        return self._known[precision]

    def _seen(self, precision: Precision) -> Sizing:
        return replace(self.sizing, precision=precision)


def cheapest(prices: Prices) -> Precision:
    """The precision in which the model takes the least time that was found; floats where integers gain next to nothing.

    At first each layer is in what its own kernel takes less time in. Then layers go the other way as long as the whole
    gains, those first of which the kernels tell least: a conversion may cost more than they differ by.
    """
    before, after = prices.by_kernel(FLOATS), prices.by_kernel(prices.integers)
    gains = {name: before.get(name, 0.0) - after.get(name, 0.0) for name in prices.layers}
    slower = tuple(name for name in prices.layers if gains[name] <= 0)
    best = min((prices.integers, Precision(True, (*prices.kept, *slower))), key=prices.seconds)
    for name in sorted(prices.layers, key=lambda name: abs(gains[name]))[:MOST_TOGGLES]:
        best = min((best, toggled(best, name)), key=prices.seconds)
    return best if prices.seconds(best) <= (1 - LEAST_GAIN) * prices.seconds(FLOATS) else FLOATS


def relaxed(precision: Precision, order: Sequence[str], keeps: Callable[[Precision], bool]) -> Precision:
    """The precision with as many of these layers in float as the limits leave room for, tried in their order."""
    for name in order:
        tried = toggled(precision, name)
        if name not in precision.left_in_float and keeps(tried):
            precision = tried
    return precision


def toggled(precision: Precision, name: str) -> Precision:
    """The precision with one layer the other way."""
    left = precision.left_in_float
    return replace(precision, left_in_float=tuple(n for n in left if n != name) if name in left else (*left, name))
