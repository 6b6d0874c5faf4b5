"""Whether the data suits the original model: what is measured on data that does not means nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.compile.calibration.mismatch import explanation
from pfir.compile.calibration.samples import Samples, affordable
from pfir.compile.prepare import fixed
from pfir.compile.request import Request
from pfir.compile.run_context import RunContext
from pfir.data.base import Dataset
from pfir.errors import DataError
from pfir.ir.model import Model
from pfir.run.answers import BOUND, Answers, Part, answers, bounds
from pfir.run.session import Session

OPTION = "--allow-low-accuracy"
MOST_SAMPLES = 1024
MOST_TRIED, LEAST_TRIED = 256, 48
"""Samples that changed inputs are tried on: a dozen changes."""
LITTLE_SKILL = 0.15
"""Cohen's kappa below which a model knows as good as nothing of the labels; CIFAR-10 left unscaled gives 0.06."""
NEAR_CHANCE = 2.5
"""Times the accuracy of chance."""
FAR_BELOW, BELOW = 0.5, 0.9
"""Accuracy as a share of the model's own confidence. Trained networks are too sure of themselves, by a fifth on data
like that of their training (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599). Below
a half something is wrong with the data whatever it is; up to nine tenths only if it can be told what."""


@dataclass(frozen=True)
class Doubt:
    """What speaks against the data.

    Args:
        accuracy: Of the original on it, in [0, 1].
        chance: The accuracy of answers as frequent as the model's that know nothing of the labels.
        confidence: The mean of its largest probability.
        samples: How many were asked.
        reason: What seems to be wrong, and what to do.
    """

    accuracy: float
    chance: float
    confidence: float
    samples: int
    reason: str

    def __str__(self) -> str:
        return (
            f"the model as given is right on {100 * self.accuracy:.1f} % of {self.samples} samples, chance would be on "
            f"{100 * self.chance:.1f} %, and it is {100 * self.confidence:.0f} % sure of its answers; {self.reason}"
        )


def with_checked_data(run_context: RunContext) -> RunContext:
    """The run as it is if the given data suits the original, after saying how the data was read.

    Raises:
        DataError: The original is hardly better than chance on it, or far less right than it is sure; with
            `--allow-low-accuracy` the run gets a note instead.
    """
    samples, request = run_context.samples, run_context.request
    for note in dict.fromkeys((*samples.train.notes, *samples.validation.notes)):
        run_context.progress.note(note)
    most = min(MOST_SAMPLES, affordable(fixed(run_context.models.baseline, request), request))
    for path, datasets in _named(request, samples):
        found = doubt(run_context.models.original, datasets, most, request.seed, request.jobs or 1)
        if found is not None and not request.allow_low_accuracy:
            raise DataError(f"{path}: {found} ({OPTION} goes on all the same)")
        if found is not None:
            run_context.progress.note(f"{path}: {found}")
            run_context = replace(run_context, samples=replace(samples, notes=(*samples.notes, f"{path}: {found}.")))
    return run_context


def doubt(model: Model, datasets: Sequence[Dataset], most: int, seed: int = 0, threads: int = 1) -> Doubt | None:
    """What speaks against labelled data of a classifier; None if nothing does, or too few samples tell.

    Args:
        datasets: Parts of one data set; those of the first are asked first.
        most: Samples to ask at most.
    """
    parts = _some([d for d in datasets if d.labels is not None and d.kind == "given"], most, seed)
    if not parts:
        return None
    session = Session(model, threads)
    found = answers(session, parts)
    if found is None or not _suspicious(found, BELOW):
        return None
    few = _some([d.subset(i) for d, i in parts], min(MOST_TRIED, max(LEAST_TRIED, most // 4)), seed)
    sample = few[0][0].batch(few[0][1])
    reason, proven = explanation(found, lambda change: answers(session, few, change), sample)
    if not proven and not _suspicious(found, FAR_BELOW):
        return None
    return Doubt(found.accuracy, found.chance, found.confidence, found.count, reason)


def _named(request: Request, samples: Samples) -> list[tuple[str, list[Dataset]]]:
    """The data sets that were given, by their paths."""
    if request.data is None:
        return []
    if request.validation is None:
        return [(request.data, [samples.validation, samples.train])]
    return [(request.validation, [samples.validation]), (request.data, [samples.train])]


def _some(datasets: Sequence[Dataset], most: int, seed: int) -> list[Part]:
    """Random samples, of the first data set first."""
    parts, left = [], most
    for dataset in datasets:
        if left > 0:
            chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:left])
            parts.append((dataset, chosen))
            left -= len(chosen)
    return parts


def _suspicious(found: Answers, share: float) -> bool:
    """Whether the accuracy is near chance or below this share of the confidence, more than few samples explain."""
    upper = bounds(found.hits, found.count)[1]
    return upper < share * found.confidence or _near_chance(found, upper)


def _near_chance(found: Answers, upper: float) -> bool:
    chance = found.chance
    if len(np.unique(found.labels)) < 2 or upper - chance >= LITTLE_SKILL * (1 - chance):
        return False
    error = BOUND * np.sqrt(chance * (1 - chance) / found.count)
    return found.accuracy <= chance + error or upper < NEAR_CHANCE * chance
