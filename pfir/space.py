"""What a search may choose: named parameters with their ranges, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.errors import UsageError


@dataclass(frozen=True)
class Parameter:
    """One number to choose: any within a range, or one of several.

    Args:
        name: Unique within its space.
        low: Smallest value.
        high: Largest value, included.
        default: Where a search starts, `low <= default <= high`.
        held: Whether a projection onto a budget moves it only where moving all others does not suffice.
        values: All values that may be chosen, rising, from `low` to `high`; empty where any in between may.
        low_is_cheap: Whether smaller values cost less, as with bits a weight; of ratios removed larger ones do.

    Raises:
        UsageError: The range is empty, the default lies outside it, or the values do not rise from low to high.
    """

    name: str
    low: float
    high: float
    default: float
    held: bool = False
    values: tuple[float, ...] = ()
    low_is_cheap: bool = False

    def __post_init__(self) -> None:
        rising = self.values == tuple(sorted(set(self.values)))
        if self.values and not (rising and {self.values[0], self.values[-1]} == {self.low, self.high}):
            raise UsageError(f"parameter {self.name}: its values are {self.values}; they must rise from low to high")
        if not self.low <= self.default <= self.high:
            raise UsageError(f"parameter {self.name}: default {self.default} is outside [{self.low}, {self.high}]")

    @property
    def cheapest(self) -> float:
        """The value that costs least."""
        return self.low if self.low_is_cheap else self.high

    @property
    def dearest(self) -> float:
        """The value that costs most."""
        return self.high if self.low_is_cheap else self.low

    def nearest(self, value: float) -> float:
        """The value that may be chosen and lies nearest; of two the dearer one."""
        inside = min(max(float(value), self.low), self.high)
        if not self.values:
            return inside
        return min(self.values, key=lambda v: (abs(v - inside), abs(v - self.dearest)))

    def at(self, share: float) -> float:
        """The value at a share, in [0, 1], of the way from low to high; of several values each has an equal part."""
        if not self.values:
            return float(self.low + share * (self.high - self.low))
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def share(self, value: float) -> float:
        """Where a value lies on the way from low to high, in [0, 1]; 0 for a parameter without a range."""
        if self.values:
            return (self.values.index(self.nearest(value)) + 0.5) / len(self.values)
        span = self.high - self.low
        return min(max((value - self.low) / span, 0.0), 1.0) if span else 0.0


@dataclass(frozen=True)
class Space:
    """All parameters of a search, in a fixed order."""

    parameters: tuple[Parameter, ...] = ()

    def __post_init__(self) -> None:
        if len({p.name for p in self.parameters}) != len(self.parameters):
            raise UsageError("a space holds two parameters of one name")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.parameters)

    def defaults(self) -> dict[str, float]:
        """Every parameter at its default."""
        return {p.name: p.default for p in self.parameters}
