"""Whether a training diverges, told from its losses.

A loss that is no number always means it. Else a loss is held against the highest of the eight steps before the last
good moment: the highest and not the mean, since single batches may be hard; and a bar that stays where it is until the
next good moment, since one that moved along would never be passed by a loss that climbs in small steps. What lies above
RISE times that for two steps in a row has diverged. Losses of a healthy training do not come near: where those of
batches spread by half of their mean (gamma variates), that comes once in 10^8 steps, by a third once in 10^14.
"""

from __future__ import annotations

import math

from pfir.train.fitting.totals import Totals

RISE = 4.0
"""So many times the highest loss before the last good moment is too high."""
FIRST_RISE = 10.0
"""The same before there is a good moment, against the first steps: a rate that suits a training may cost at first some
of what the model knew."""
IN_A_ROW = 2
FIRST_STEPS = 2
"""The steps that tell what a training started with."""
WRECKED = 2.0
"""A first epoch whose mean loss is so many times that of the first steps has lost what the model knew."""
LOST = 3.0
"""A later epoch has, whose last steps have so many times the mean loss that those before the last good moment had."""
STEADY = 1.5
"""What ends with up to so many times that loss is a moment worth going back to."""
SMALL = 1e-2
"""Smaller rises are none, in units of a loss: nats at a temperature of one, or shares of the teacher's variance."""


def follow(totals: Totals) -> None:
    """Take the loss of the last step in."""
    loss = totals.recent[-1]
    if totals.step == FIRST_STEPS:
        totals.start = totals.loss
    totals.above = totals.above + 1 if loss > _bar(totals) else 0


def diverges(totals: Totals) -> bool:
    """Whether the last step is no number, or too high like the one before it."""
    return not math.isfinite(totals.recent[-1]) or totals.above >= IN_A_ROW


def epoch_is_lost(totals: Totals) -> bool:
    """Whether the epoch that ends now has cost what the model knew, though no two steps stood out.

    The first is held against the first steps, as long as there was no retreat.
    """
    good = totals.good
    if not totals.curve:
        return not totals.retreats and totals.start is not None and totals.loss > _times(WRECKED, totals.start)
    highest, mean = good.highest, good.mean
    return highest is not None and mean is not None and totals.recent_loss > max(highest, _times(LOST, mean))


def is_steady(totals: Totals) -> bool:
    """Whether now is a moment worth going back to."""
    before = totals.start if totals.good.mean is None else totals.good.mean
    return totals.above == 0 and before is not None and totals.recent_loss <= _times(STEADY, before)


def _bar(totals: Totals) -> float:
    """The loss above which a step is too high."""
    if totals.good.highest is not None:
        return _times(RISE, totals.good.highest)
    return math.inf if totals.start is None else _times(FIRST_RISE, totals.start)


def _times(factor: float, loss: float) -> float:
    """So many times the loss; of negative ones as much above it, and always at least SMALL above it."""
    return loss + max((factor - 1) * abs(loss), SMALL)
