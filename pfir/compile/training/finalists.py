"""A short training of the finalists of a search, by which the one for the long training is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfir.report.record import Finalist
from pfir.train.settings import Settings

SHARE = 0.15
"""Of the training, at most, for all finalists together."""
MOST = 4
LEAST_STEPS = 100
"""Fewer tell little: the rate has then hardly risen and fallen again."""
LEAST_S = 4.0
"""Where a clock bounds training: to build the gradients of a student alone takes a second or two."""
MARGIN = 0.03
"""A finalist replaces the best of the search where its divergence is smaller by this share of that one's."""


@dataclass(frozen=True)
class ShortTraining:
    """How long each finalist is trained.

    Args:
        count: How many finalists.
        steps: Of each; None where a clock bounds them.
        seconds: Of each, at most; None where the user fixed the epochs.
    """

    count: int
    steps: int | None = None
    seconds: float | None = None


def short_training(found: int, settings: Settings, samples: int) -> ShortTraining | None:
    """What of the training goes to a comparison of finalists: two to four of them, together `SHARE` of it at most.

    None, so that the best of the search is trained as it is, where two would not get `LEAST_STEPS` steps or, under a
    time budget, `LEAST_S` seconds each.

    Args:
        found: How many finalists there are.
        settings: Of the long training.
        samples: That it learns from.

    Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS
    2016, arXiv:1502.07943 (successive halving); ours has a single round, since few finalists are compared.
    """
    if settings.time_budget_s is not None:
        budget_s = SHARE * settings.time_budget_s
        count = min(found, MOST, int(budget_s / LEAST_S))
        return ShortTraining(count, seconds=budget_s / count) if count > 1 else None
    steps = SHARE * settings.epochs * max(1, samples // settings.batch)
    count = min(found, MOST, int(steps / LEAST_STEPS))
    return ShortTraining(count, steps=int(steps / count)) if count > 1 else None


def winner(trained: Sequence[Finalist]) -> int:
    """The place of the finalist that goes on: the first, unless another is nearer to the original by `MARGIN`."""
    best = min(range(len(trained)), key=lambda i: (trained[i].divergence, i))
    return best if trained[best].divergence < (1 - MARGIN) * trained[0].divergence else 0
