"""The search itself: ask, project onto the budget, score, note, tell."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pfir.errors import Infeasible, OutOfTime
from pfir.search.budget import project
from pfir.search.executors import Executor, Outcome, executor
from pfir.search.journal import Journal
from pfir.search.pareto import best, pareto
from pfir.search.problem import Problem, SearchResult, Settings, Trial
from pfir.search.proposals import Proposal, Proposer


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
    """One search, which gives the same trials for a seed and a number of jobs at any speed of the machine.

    With n jobs the optimizer is told of trial k just before candidate k + n is proposed, whoever finishes first. The
    trials of a journal are proposed again like all others, and have their outcome at once.
    """

    def __init__(
        self, problem: Problem, settings: Settings, book: Journal | None, on_trial: Callable[[Trial], None]
    ) -> None:
        self._problem, self._settings, self._book, self._on_trial = problem, settings, book, on_trial
        self._past = {trial.number: trial for trial in (book.trials if book else ())}
        self._trials: dict[int, Trial] = {}
        self._open: dict[int, Proposal] = {}
        self._told, self._next = 0, 0
        self._begun = time.monotonic()
        self._proposer = Proposer(problem, settings)

    def run(self) -> SearchResult:
        workers = executor(self._problem.score, self._settings.jobs)
        try:
            self._work(workers)
        except OutOfTime:
            if all(trial.score is None for trial in self._trials.values()):
                raise
        finally:
            workers.close()
        return self._result()

    def _work(self, workers: Executor) -> None:
        while True:
            while workers.free() and self._may_start() and self._start(workers):
                pass
            done = workers.finished()
            if not done:
                return
            for number, outcome in done:
                self._note(number, outcome)

    def _may_start(self) -> bool:
        """Whether another candidate may start now: time and trials are left, and all is told that it depends on."""
        if self._next >= self._settings.trials or not self._tell_before(self._next):
            return False
        budget = self._settings.time_budget_s
        is_past = self._next in self._past or self._next == 0
        return is_past or budget is None or time.monotonic() - self._begun < budget

    def _tell_before(self, number: int) -> bool:
        """Tell the optimizer of what the candidate of this number depends on; whether all of it is finished."""
        while self._told <= number - self._settings.jobs:
            if self._told not in self._trials:
                return False
            self._proposer.learn(self._open.pop(self._told), self._trials[self._told])
            self._told += 1
        return True

    def _start(self, workers: Executor) -> bool:
        """Start a candidate that nobody has built; whether there was one."""
        number, waiting = self._next, [proposal.parameters for proposal in self._open.values()]
        proposal = self._proposer.propose(waiting)
        past = self._past.get(number)
        if past is not None and (proposal is None or not proposal.is_of(past)):
            proposal = Proposal(past.asked, past.parameters)  # of a run with another number of jobs
        if proposal is None:
            return False
        self._next += 1
        self._open[number] = proposal
        if past is None:
            workers.submit(number, proposal.parameters)
        else:
            self._trials[number] = past
        return True

    def _note(self, number: int, outcome: Outcome) -> None:
        proposal = self._open[number]
        cost = float(self._problem.cost(proposal.parameters))
        trial = Trial(
            number, proposal.asked, proposal.parameters, cost, outcome.score, outcome.details, outcome.seconds
        )
        if self._book is not None:
            self._book.append(trial)
        self._trials[number] = trial
        self._on_trial(trial)

    def _result(self) -> SearchResult:
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        found = best(trials)
        if found is None:
            reason = trials[0].details.get("failed", "unknown")
            raise Infeasible(f"all {len(trials)} candidates failed; the first: {reason}")
        return SearchResult(trials, found, pareto(trials))
