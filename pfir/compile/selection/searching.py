"""The search: what it finds, within which limits, and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.base import Change, Choice
from pfir.compile.methods.channels import Untouched
from pfir.compile.methods.pricing import Limits
from pfir.compile.methods.reach import Reach
from pfir.compile.plan import Plan
from pfir.compile.request import Request
from pfir.compile.selection.finalists import finalists
from pfir.compile.selection.search_context import SearchContext
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.report.progress import Progress
from pfir.report.record import Trial as Tried
from pfir.search import Problem, SearchResult, Settings, Trial, search


@dataclass(frozen=True)
class Found:
    """The best candidate of a search.

    Args:
        model: Built, not fine-tuned.
        choices: What each method did.
        trials: Everything that was tried.
        seconds: Spent on the search.
        parameters: What the search chose; empty where nothing was searched.
        finalists: The parameters of the best candidates, each unlike the others, this one's first.
        rivals: Others of these, built, that a short training is to compare with this one.
    """

    model: Model
    choices: tuple[Choice, ...]
    trials: tuple[Tried, ...] = ()
    seconds: float = 0.0
    parameters: Mapping[str, float] = field(default_factory=dict)
    finalists: tuple[Mapping[str, float], ...] = ()
    rivals: tuple[Found, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The passes that do the same."""
        return tuple(choice.text for choice in self.choices if choice.text)

    @property
    def changes(self) -> dict[str, Change]:
        """Quantities before and after by name, of all methods."""
        return {name: change for choice in self.choices for name, change in choice.changes.items()}


def largest_speedup(search_context: SearchContext) -> float:
    """The largest speed-up that the methods can give."""
    return Reach(search_context.pricing, search_context.baseline_s).speedup


def check_reachable(search_context: SearchContext, limits: Limits) -> None:
    """Return only if the methods can meet the limits.

    Raises:
        Infeasible: They cannot; the text says what can be reached.
    """
    Reach(search_context.pricing, search_context.baseline_s).check(limits)


def as_it_is(model: Model) -> Found:
    """The model with nothing done to it."""
    return Found(model, (Untouched(channel_groups(model)),))


def built_by(search_context: SearchContext, parameters: Mapping[str, float]) -> Found:
    """The candidate of these parameters; none are needed where all methods are fixed.

    Raises:
        UsageError: A fixed method names what is not there or must stay.
        Infeasible: A fixed method cannot do what it asks for.
    """
    return kept_as(search_context, search_context.candidates.choices(parameters))


def kept_as(search_context: SearchContext, choices: tuple[Choice, ...]) -> Found:
    """The candidate of these choices, its other weights making up for what goes."""
    return Found(search_context.candidates.build(choices), choices)


@dataclass(frozen=True)
class SearchRun:
    """How a search runs.

    Args:
        plan: Bounds its trials, and where a clock has a say its seconds.
        journal: Each trial is here before the next starts, and a search goes on from it.
        progress: Is told of each trial.
        ends: When it must be over.
    """

    plan: Plan
    request: Request
    journal: Path
    progress: Progress
    ends: Deadline = NEVER


def search_for(search_context: SearchContext, limits: Limits, how: SearchRun) -> Found:
    """The best candidate within the limits that the planned trials or time find; the journal's trials count.

    Raises:
        Infeasible: No candidate can keep the limits.
    """
    plan, request = how.plan, how.request
    seconds = None if plan.search_s is None else min(plan.search_s, how.ends.left_s())
    prices = search_context.pricing.within(limits)
    problem = Problem(
        space=prices.space(),
        cost=prices,
        limit=1.0,
        score=search_context.score,
        snap=prices.snap,
        warm_starts=prices.warm_starts(),
        fingerprint=fingerprint(search_context, request),
    )
    settings = Settings(plan.trials, request.seed, jobs=request.jobs or 1, time_budget_s=seconds)
    result = search(problem, settings, how.journal, Teller(how.progress, plan.trials, seconds))
    return _found(search_context, result)


def fingerprint(search_context: SearchContext, request: Request) -> str:
    """What trials of one journal share; not the measured latencies, which differ from run to run."""
    methods = tuple(method.fingerprint for method in search_context.pricing.methods)
    built = (request.target, request.precision, search_context.precision, request.backend)
    return repr((request.goals.text(), *built, search_context.score.data.fingerprint(), methods))


class Teller:
    """Reports trials.

    Args:
        trials: How many there will be at most.
        seconds: After which no more start; None for no limit.
    """

    def __init__(self, progress: Progress, trials: int, seconds: float | None) -> None:
        self._progress, self._trials, self._seconds = progress, trials, seconds
        self._best, self._spent = None, 0.0

    def __call__(self, trial) -> None:
        self._spent += trial.seconds
        if trial.score is not None and (self._best is None or trial.score > self._best):
            self._best = trial.score
        share = (trial.number + 1) / self._trials
        if self._seconds:
            share = max(share, self._spent / self._seconds)
        if self._best is not None:
            self._progress.step(min(1.0, share), f"trial {trial.number + 1}, best divergence {-self._best:.4f}")


def _found(search_context: SearchContext, result: SearchResult) -> Found:
    best = finalists(result.trials)
    found = built_by(search_context, best[0].parameters)
    return replace(
        found,
        parameters=best[0].parameters,
        finalists=tuple(t.parameters for t in best),
        trials=points(result.trials, best[0]),
        seconds=sum(t.seconds for t in result.trials),
    )


def points(trials: Sequence[Trial], chosen: Trial) -> tuple[Tried, ...]:
    """The trials that have a score, as the report gets them."""
    return tuple(_point(t, t.number == chosen.number) for t in trials if t.score is not None)


def _point(trial: Trial, chosen: bool) -> Tried:
    told = trial.details  # an earlier version's journal tells neither MACs nor size
    return Tried(told["latency_s"], told["fidelity"], chosen, told.get("macs"), told.get("size_bytes"), -trial.score)
