"""What has happened in a training so far, as JSON can hold it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

RECENT = 8
"""Steps whose losses are remembered."""


@dataclass
class Good:
    """A moment that a training can go back to; its arrays are kept apart (`moments.py`).

    Args:
        step: Steps done by then.
        sums: Of loss and metrics over the epoch until then.
        summed: Of so many steps.
        highest: The highest loss of the last steps before it; None before there were any.
        mean: Their mean.
    """

    step: int = 0
    sums: list[float] = field(default_factory=list)
    summed: int = 0
    highest: float | None = None
    mean: float | None = None


@dataclass
class Totals:
    """What has happened.

    Args:
        step: Steps done.
        seconds: That they took, over all calls.
        scale: Of the learning rate, after retreats.
        retreats: How many there were.
        sums: Of loss and metrics over the epoch so far.
        summed: Of so many steps.
        recent: Losses of the last steps.
        above: Steps in a row, up to now, whose loss was too high.
        start: Mean loss of the first steps; None before they are done.
        good: The last good moment.
        curve: One entry per epoch.
        notes: What a user should know.
        best_score: Of the best epoch; None before one was evaluated.
        best_epoch: From 1; 0 before one was evaluated.
        best_averaged: Whether the best arrays are the average of weights.
        compiled: Whether its steps are compiled; None before the first one.
        timed: Whether for a step the clock, not the steps, told how much of the training was done.
    """

    step: int = 0
    seconds: float = 0.0
    scale: float = 1.0
    retreats: int = 0
    sums: list[float] = field(default_factory=list)
    summed: int = 0
    recent: list[float] = field(default_factory=list)
    above: int = 0
    start: float | None = None
    good: Good = field(default_factory=Good)
    curve: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best_score: float | None = None
    best_epoch: int = 0
    best_averaged: bool = False
    compiled: bool | None = None
    timed: bool = False

    @property
    def loss(self) -> float:
        """Mean over the epoch so far; NaN before its first step."""
        return self.sums[0] / self.summed if self.summed else float("nan")

    @property
    def means(self) -> list[float]:
        """Of loss and metrics over the epoch so far."""
        return [total / self.summed for total in self.sums]

    @property
    def recent_loss(self) -> float:
        """Mean over the last steps."""
        return sum(self.recent) / len(self.recent)

    @property
    def steps_since_good(self) -> int:
        return self.step - self.good.step

    def add(self, scalars: Iterable[float]) -> None:
        """Count a step that gave this loss and these metrics."""
        values = [float(x) for x in scalars]
        self.sums = [a + b for a, b in zip(self.sums or [0.0] * len(values), values, strict=True)]
        self.summed += 1
        self.step += 1
        self.recent = [*self.recent, values[0]][-RECENT:]

    def begin_epoch(self) -> None:
        """Sums start anew."""
        self.sums, self.summed = [], 0

    def settle(self) -> None:
        """Now is a good moment to go back to."""
        self.good = Good(self.step, list(self.sums), self.summed, max(self.recent), self.recent_loss)
        self.above = 0

    def go_back(self) -> None:
        """To the last good moment; the notes and the scale of the rate stay."""
        good = self.good
        self.step, self.sums, self.summed = good.step, list(good.sums), good.summed
        self.above, self.recent = 0, []

    def facts(self) -> dict:
        """All of it as plain values."""
        return asdict(self)

    @classmethod
    def of(cls, facts: dict) -> Totals:
        """What `facts` gave."""
        return cls(**{**facts, "good": Good(**facts["good"])})
