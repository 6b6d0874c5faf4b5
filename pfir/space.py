"""What a search may choose: named parameters with their ranges, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.errors import UsageError


@dataclass(frozen=True)
class Parameter:
    """One number to choose.

    Args:
        name: Unique within its space.
        low: Smallest value.
        high: Largest value, included.
        default: Where a search starts, `low <= default <= high`.
        held: Whether a projection onto a budget moves it only where moving all others does not suffice.

    Raises:
        UsageError: The range is empty or the default lies outside it.
    """

    name: str
    low: float
    high: float
    default: float
    held: bool = False

    def __post_init__(self) -> None:
        if not self.low <= self.default <= self.high:
            raise UsageError(f"parameter {self.name}: default {self.default} is outside [{self.low}, {self.high}]")


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
