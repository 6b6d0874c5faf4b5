"""The finalists of a search compared by a short training of each, before one of them gets the long one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.selection.fitted_search import fitted_if_nearer
from pfir.compile.selection.search_context import SearchContext
from pfir.compile.selection.searching import Found, SearchRun, built_by
from pfir.compile.training.finalists import LEAST_STEPS, ShortTraining, winner
from pfir.compile.training.fine_tuning import careful
from pfir.compile.training.judging import Judge
from pfir.compile.training.teaching import Teaching
from pfir.errors import TrainingError
from pfir.report.record import Finalist, Trial


def with_rivals(
    search_context: SearchContext, found: Found, count: int, how: SearchRun, keeps: Callable[[Found], bool]
) -> Found:
    """The candidate with the next best ones unlike it, each fitted where that helps, as far as there is time for them.

    Args:
        count: How many of them at most.
        how: Of the search that fits; no other one is built once its time is over.
        keeps: Whether a candidate keeps the limits when it is measured.
    """
    rivals: list[Found] = []
    for parameters in found.finalists:
        if len(rivals) >= count or how.ends.passed:
            break
        if parameters == found.parameters:
            continue
        trials = _marked(search_context, found.trials, parameters)
        rival = replace(built_by(search_context, parameters), parameters=parameters, trials=trials)
        if keeps(rival):
            rivals.append(fitted_if_nearer(search_context, rival, how.plan, how.request.seed, how.ends))
    return replace(found, rivals=tuple(rivals))


def _marked(
    search_context: SearchContext, trials: Sequence[Trial], parameters: Mapping[str, float]
) -> tuple[Trial, ...]:
    """The trials, the last one with the costs of these parameters as the chosen one."""
    cost = search_context.pricing.costs(parameters)
    alike = [i for i, t in enumerate(trials) if (t.latency_s, t.macs) == (cost["latency_s"], cost["macs"])]
    return tuple(replace(t, chosen=i == alike[-1]) for i, t in enumerate(trials)) if alike else tuple(trials)


@dataclass(frozen=True)
class Comparison:
    """How finalists are compared.

    Args:
        teaching: Of the long training; its end is not that of a short one.
        short: How long each is trained.
        judge: Tells which is nearest to the original.
        checkpoint: Where the state of the short training of the finalist at this place is kept.
    """

    teaching: Teaching
    short: ShortTraining
    judge: Judge
    checkpoint: Callable[[int], Path]

    def best(self, found: Found) -> tuple[Found, tuple[Finalist, ...]]:
        """The candidate or the rival of it that training brings nearest to the original, and what was found of each.

        Nothing is compared where the candidate itself cannot be trained, or in its time has not made `LEAST_STEPS`.
        """
        candidates = (found, *found.rivals)[: self.short.count]
        trained: list[Finalist] = []
        try:
            for place, candidate in enumerate(candidates, start=1):
                trained.append(self._trained(candidate, place))
                if trained[0].steps < LEAST_STEPS:
                    return replace(found, rivals=()), ()
        except TrainingError:
            if len(trained) < 2:
                return replace(found, rivals=()), ()
        chosen = winner(trained)
        told = tuple(replace(f, chosen=i == chosen) for i, f in enumerate(trained))
        return _in_place_of(found, candidates[chosen]), told

    def _trained(self, candidate: Found, place: int) -> Finalist:
        before = self.judge.scores(candidate.model)
        settings = careful(self.teaching.course.settings, before.divergence, self.teaching.course.options)
        samples, epochs = self._samples(settings.epochs, settings.batch)
        settings = replace(settings, epochs=epochs, checkpoint=self.checkpoint(place))
        ends = NEVER if self.short.seconds is None else Deadline.within(self.short.seconds)
        teaching = self.teaching.on(samples=samples, settings=settings, ends=ends, compiled=None)
        model, result = teaching.of(candidate.model)
        after = self.judge.scores(model)
        steps = result.curve[-1]["step"] if result.curve else 0
        return Finalist(place, before.divergence, after.divergence, after.fidelity, steps)

    def _samples(self, epochs: int, batch: int) -> tuple[Samples, int]:
        """What one of them learns from, and how often: all samples, or as many as its steps take."""
        samples, steps = self.teaching.course.samples, self.short.steps
        per_epoch = max(1, len(samples.train) // batch)
        if steps is None:
            return samples, epochs
        if steps >= per_epoch:
            return samples, steps // per_epoch
        order = np.random.default_rng([self.teaching.course.settings.seed, 3]).permutation(len(samples.train))
        return replace(samples, train=samples.train.subset(np.sort(order[: steps * batch]))), 1


def _in_place_of(found: Found, chosen: Found) -> Found:
    """The chosen candidate with what is told of the whole search."""
    if chosen is found:
        return replace(found, rivals=())
    return replace(chosen, seconds=found.seconds, finalists=found.finalists)


def said(trained: Sequence[Finalist]) -> tuple[str, ...]:
    """A sentence for the user; none where nothing was compared."""
    if not trained:
        return ()
    chosen = next(f for f in trained if f.chosen)
    figures = ", ".join(f"{f.divergence:.4f}" for f in trained)
    return (
        f"After a short training of {len(trained)} finalists ({trained[0].steps} steps; divergence {figures}) "
        f"candidate {chosen.place} of the search got the long one.",
    )
