"""Which candidate comes next: the optimizer's, projected onto the budget, as long as nobody has built it before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pfir.search.budget import project
from pfir.search.optimizers import Optimizer
from pfir.search.problem import Parameters, Problem, Settings, Trial

MOST_TWINS = 12
"""Asked for so many candidates in a row that were built before, the optimizer is stuck on a step of the staircase."""
MOST_NEIGHBOURS = 200
"""Where so many neighbours of the best, near ones and far ones, were built before, there is nothing left to find."""
_CLOSE = 1e-9

Key = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Proposal:
    """A candidate to be scored.

    Args:
        asked: What was proposed.
        parameters: What will be built: the proposal, projected onto the limit and snapped.
        handle: By which the optimizer knows it; None where it was not the optimizer's idea.
    """

    asked: Parameters
    parameters: Parameters
    handle: object = None

    def is_of(self, trial: Trial) -> bool:
        """Whether a trial was proposed as this candidate is."""
        asked = trial.asked
        same = self.asked.keys() == asked.keys() and all(abs(self.asked[n] - asked[n]) <= _CLOSE for n in asked)
        return same and self.parameters.keys() == trial.parameters.keys()


class Proposer:
    """Proposes candidates that are unlike all before.

    Many proposals snap to the same model: such a twin is told to the optimizer with the score that is known, neither
    counts as a trial nor is built. Where the optimizer proposes nothing but twins, neighbours of the best candidate
    are tried: it, with one of its parameters drawn anew, then with more and more of them.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        self._problem, self._seed = problem, settings.seed
        self._optimizer = Optimizer(
            problem.space, settings.seed, settings.trials, settings.jobs, problem.warm_starts, settings.optimizer
        )
        self._scores: dict[Key, float | None] = {}
        self._best: tuple[float, Parameters] | None = None

    def propose(self, waiting: Sequence[Parameters] = ()) -> Proposal | None:
        """The next candidate; None where every one in reach was built before.

        Args:
            waiting: What is being scored; its score is not known yet.
        """
        for _ in range(MOST_TWINS):
            asked, handle = self._optimizer.ask()
            parameters = self._projected(asked)
            if parameters in waiting:
                continue
            if _key(parameters) not in self._scores:
                return Proposal(asked, parameters, handle)
            self._optimizer.tell(handle, _loss(self._scores[_key(parameters)]))
        return self._neighbour(waiting)

    def learn(self, proposal: Proposal, trial: Trial) -> None:
        """Take in the score of a proposed candidate."""
        if proposal.handle is None:
            self._optimizer.learn(proposal.asked, _loss(trial.score))
        else:
            self._optimizer.tell(proposal.handle, _loss(trial.score))
        self._know(trial)

    def _know(self, trial: Trial) -> None:
        self._scores[_key(trial.parameters)] = trial.score
        if trial.score is not None and (self._best is None or trial.score > self._best[0]):
            self._best = (trial.score, trial.parameters)

    def _neighbour(self, waiting: Sequence[Parameters]) -> Proposal | None:
        if self._best is None:
            return None
        random = np.random.default_rng([self._seed, len(self._scores), len(waiting)])
        for attempt in range(MOST_NEIGHBOURS):
            asked = self._changed(self._best[1], random, 1 + attempt * len(self._best[1]) // MOST_NEIGHBOURS)
            parameters = self._projected(asked)
            if parameters not in waiting and _key(parameters) not in self._scores:
                return Proposal(asked, parameters, None)
        return None

    def _changed(self, parameters: Parameters, random: np.random.Generator, count: int) -> Parameters:
        """The parameters with as many of them drawn anew, each from all of its range."""
        space = self._problem.space.parameters
        chosen = random.choice(len(space), min(count, len(space)), replace=False)
        return parameters | {space[i].name: space[i].at(float(random.random())) for i in chosen}

    def _projected(self, asked: Parameters) -> Parameters:
        problem = self._problem
        if problem.limit is None:
            return problem.snap(asked)
        return project(asked, problem.cost, problem.limit, problem.space, problem.snap)


def _key(parameters: Parameters) -> Key:
    return tuple(sorted(parameters.items()))


def _loss(score: float | None) -> float | None:
    return None if score is None else -score
