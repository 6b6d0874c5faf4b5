"""The search itself: ask, project onto the budget, score, note, tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pfir.errors import Infeasible, OutOfTime
from pfir.search.budget import project
from pfir.search.executors import Executor, Outcome, executor
from pfir.search.journal import Journal
from pfir.search.optimizers import Optimizer
from pfir.search.pareto import best, pareto
from pfir.search.problem import Parameters, Problem, SearchResult, Settings, Trial


def search(
    problem: Problem,
    settings: Settings,
    journal: Path | str | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> SearchResult:
    """The trials of a search; the best of them keeps the highest score within the limit.

    Args:
        journal: Each trial is on disk here before the next starts; a search of the same problem goes on from it, with
            its trials counted. None for a search that cannot be resumed.
        on_trial: Called with each new trial after it is on disk.

    Raises:
        Infeasible: No candidate can meet the limit (before any is scored, with the reachable range), or all failed.
        OutOfTime: The score of the very first candidate says so; said later, it ends the search.
        UsageError: The journal is of another problem or cannot be written.
        KeyboardInterrupt: As it came; every finished trial is in the journal.
    """
    if problem.limit is not None:
        project(problem.space.defaults(), problem.cost, problem.limit, problem.space, problem.snap)
    book = None if journal is None else Journal(Path(journal), problem.fingerprint, problem.space)
    try:
        return _Search(problem, settings, book, on_trial).run()
    finally:
        if book is not None:
            book.close()


class _Search:
    def __init__(
        self, problem: Problem, settings: Settings, book: Journal | None, on_trial: Callable[[Trial], None]
    ) -> None:
        self._problem, self._settings, self._book, self._on_trial = problem, settings, book, on_trial
        self._trials: list[Trial] = []
        self._open: dict[int, tuple[Parameters, Parameters, float, object]] = {}
        self._begun = time.monotonic()
        self._optimizer = Optimizer(
            problem.space, settings.seed, settings.trials, settings.jobs, problem.warm_starts, settings.optimizer
        )

    def run(self) -> SearchResult:
        for trial in self._book.trials if self._book else ():
            self._optimizer.replay(trial.asked, _loss(trial.score))
            self._trials.append(trial)
        self._next = max((trial.number for trial in self._trials), default=-1) + 1
        workers = executor(self._problem.score, self._settings.jobs)
        try:
            self._work(workers)
        except OutOfTime:
            if not any(trial.score is not None for trial in self._trials):
                raise
        finally:
            workers.close()
        return self._result()

    def _work(self, workers: Executor) -> None:
        while True:
            while workers.free() and self._may_start():
                self._start(workers)
            done = workers.finished()
            if not done:
                return
            for number, outcome in done:
                self._note(number, outcome)

    def _may_start(self) -> bool:
        started = len(self._trials) + len(self._open)
        if started >= self._settings.trials:
            return False
        budget = self._settings.time_budget_s
        return started == 0 or budget is None or time.monotonic() - self._begun < budget

    def _start(self, workers: Executor) -> None:
        asked, handle = self._optimizer.ask()
        parameters = self._projected(asked)
        number, self._next = self._next, self._next + 1
        self._open[number] = (asked, parameters, float(self._problem.cost(parameters)), handle)
        twin = self._twin(parameters)
        if twin is None:
            workers.submit(number, parameters)
        else:
            self._note(number, Outcome(twin.score, dict(twin.details) | {"same_as": twin.number}))

    def _projected(self, asked: Parameters) -> Parameters:
        problem = self._problem
        if problem.limit is None:
            return problem.snap(asked)
        return project(asked, problem.cost, problem.limit, problem.space, problem.snap)

    def _twin(self, parameters: Parameters) -> Trial | None:
        """An earlier trial that built the same: scoring it again would tell nothing new."""
        return next((t for t in self._trials if t.parameters == parameters and t.score is not None), None)

    def _note(self, number: int, outcome: Outcome) -> None:
        asked, parameters, cost, handle = self._open.pop(number)
        trial = Trial(number, asked, parameters, cost, outcome.score, outcome.details, outcome.seconds)
        if self._book is not None:
            self._book.append(trial)
        self._trials.append(trial)
        self._optimizer.tell(handle, _loss(trial.score))
        self._on_trial(trial)

    def _result(self) -> SearchResult:
        trials = tuple(sorted(self._trials, key=lambda trial: trial.number))
        found = best(trials)
        if found is None:
            reason = trials[0].details.get("failed", "unknown")
            raise Infeasible(f"all {len(trials)} candidates failed; the first: {reason}")
        return SearchResult(trials, found, pareto(trials))


def _loss(score: float | None) -> float | None:
    return None if score is None else -score
