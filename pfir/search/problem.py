"""What a search works on, how, and what it finds: plain records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pfir.errors import UsageError
from pfir.space import Space

Parameters = dict[str, float]
Score = Callable[[Parameters], "float | tuple[float, Mapping[str, object]]"]


@dataclass(frozen=True)
class Problem:
    """Find the parameters of the highest score whose cost is at most the limit.

    Args:
        space: What may be chosen; each parameter tells which end of its range is the cheap one.
        cost: Parameters to cost, such as estimated seconds; cheap, called many times for each candidate.
        limit: Highest cost allowed; None for no limit, then candidates are taken as they are asked.
        score: Parameters to quality, higher is better, perhaps with details for the journal (JSON values). It may raise
            Infeasible, CompileError, TrainingError or DeviceError: the trial then counts as failed; or OutOfTime: the
            search ends without it. Picklable where jobs > 1.
        snap: Parameters to what will be built: ratios rounded to whole widths, say. It moves no value of another
            parameter.
        warm_starts: Candidates that are tried first; they are projected onto the limit like all others.
        fingerprint: Names the problem in a journal: model, data, limit and whatever else a score depends on.
    """

    space: Space
    cost: Callable[[Parameters], float]
    limit: float | None
    score: Score
    snap: Callable[[Parameters], Parameters] = dict
    warm_starts: tuple[Parameters, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Settings:
    """How to search.

    Args:
        trials: How many candidates to score in all, those of a resumed journal included; at least 1.
        seed: Of every random choice. With jobs=1 the same seed gives the same trials.
        jobs: Candidates scored at a time, each in a process of its own if above 1.
        time_budget_s: No trial starts after this many seconds, save the first; None for no limit.
        optimizer: Nevergrad's name of the optimizer; empty for pfir's choice.

    Raises:
        UsageError: A count is below 1 or the time budget is negative.
    """

    trials: int = 50
    seed: int = 0
    jobs: int = 1
    time_budget_s: float | None = None
    optimizer: str = ""

    def __post_init__(self) -> None:
        for name in ("trials", "jobs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.time_budget_s is not None and self.time_budget_s < 0:
            raise UsageError(f"time budget is {self.time_budget_s} s; it must not be negative")


@dataclass(frozen=True)
class Trial:
    """One scored candidate.

    Args:
        number: From 0, in the order of starting.
        asked: What the optimizer proposed.
        parameters: What was built: the proposal, projected onto the limit and snapped.
        cost: Of these parameters.
        score: Higher is better; None if the trial failed, with details["failed"] telling why.
        details: Whatever the score told beside.
        seconds: The score took.
    """

    number: int
    asked: Parameters
    parameters: Parameters
    cost: float
    score: float | None
    details: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class SearchResult:
    """All trials by number, the best (highest score, then lowest cost), and the front of cost against score."""

    trials: tuple[Trial, ...]
    best: Trial
    pareto: tuple[Trial, ...]
