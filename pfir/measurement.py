"""A latency with where it comes from; two sources are never compared."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.errors import UsageError

MEASURED = "measured"
ESTIMATED = "estimated"


@dataclass(frozen=True)
class Measurement:
    """How long one inference takes.

    Args:
        seconds: Median over the repeats, or the estimate; > 0.
        source: `measured` (on a device) or `estimated` (by a model of it).
        detail: Which device, or which model with its expected error.
        spread: Half the interquartile range as a share of the median; for an estimate its expected relative error.
        repeats: Timed runs behind the number; 0 for an estimate.
        threads: Threads used.
        device: What tells devices apart where the detail says more, such as the arithmetic; empty where it does not.
    """

    seconds: float
    source: str
    detail: str
    spread: float = 0.0
    repeats: int = 0
    threads: int = 1
    device: str = ""

    @property
    def origin(self) -> tuple[str, str]:
        """What two latencies share that can be compared."""
        return self.source, self.device or self.detail

    def __post_init__(self) -> None:
        if self.source not in (MEASURED, ESTIMATED):
            raise UsageError(f"a measurement is {MEASURED} or {ESTIMATED}, not {self.source}")
        if not self.seconds > 0:
            raise UsageError(f"a latency is {self.seconds} s; it must be above 0")


def speedup(before: Measurement, after: Measurement) -> float:
    """How many times faster `after` is.

    Raises:
        UsageError: One is measured and the other estimated, or they come from different devices.
    """
    if before.origin != after.origin:
        raise UsageError(
            f"latencies of two sources cannot be compared: {before.source} by {before.detail}, "
            f"{after.source} by {after.detail}"
        )
    return before.seconds / after.seconds
