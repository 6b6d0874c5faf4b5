"""How far a training is, as whoever started it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfir.train.fitting.totals import Totals
from pfir.train.settings import Settings


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        epoch: The one that runs, from 1.
        epochs: All of them.
        step: Steps done, over all epochs.
        steps: All of them.
        loss: Mean over the epoch so far.
        learning_rate: Of the last step.
        samples_per_s: Of this call, since its start.
        seconds_left: As far as can be told; None before the first step.
        note: Something that a user should read, or None.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    samples_per_s: float
    seconds_left: float | None
    note: str | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Teller:
    """Tells a listener how far a training is.

    Args:
        listener: Told after every step.
        settings: Of the training.
        steps_per_epoch: How many an epoch has.
        first: Steps that were done before this call.
        before_s: Seconds that they took.
    """

    listener: Listener
    settings: Settings
    steps_per_epoch: int
    first: int
    before_s: float

    def tell(self, totals: Totals, rate: float, note: str | None = None) -> None:
        """Tell what has happened by now.

        Args:
            rate: Of the last step.
            note: Something that a user should read.
        """
        epochs, steps = self.settings.epochs, self.settings.epochs * self.steps_per_epoch
        epoch = min(epochs, max(0, totals.step - 1) // self.steps_per_epoch + 1)
        speed = max(0, totals.step - self.first) * self.settings.samples_per_step / self._spent_s(totals)
        left_s = self._left_s(totals, steps)
        self.listener(Progress(epoch, epochs, totals.step, steps, totals.loss, rate, speed, left_s, note))

    def _left_s(self, totals: Totals, steps: int) -> float | None:
        done = totals.step - self.first
        if done <= 0:
            return None
        left_s, budget_s = (steps - totals.step) * self._spent_s(totals) / done, self.settings.time_budget_s
        return max(0.0, min(left_s, budget_s - totals.seconds)) if budget_s else left_s

    def _spent_s(self, totals: Totals) -> float:
        return max(totals.seconds - self.before_s, 1e-9)
