"""When the optional work of a stage ends, so that a run keeps to its time budget."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.errors import OutOfTime
from pfir.ir.model import Model
from pfir.passes.base import Activations


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock; infinite where the user fixed what is done, and no clock may change it.

    Args:
        at_s: Seconds on `time.monotonic`.
    """

    at_s: float = math.inf

    @staticmethod
    def within(seconds: float | None) -> Deadline:
        """The deadline so many seconds from now; None stands for never."""
        return Deadline() if seconds is None else Deadline(time.monotonic() + seconds)

    @property
    def passed(self) -> bool:
        """Whether the deadline is over."""
        return time.monotonic() >= self.at_s

    def left_s(self) -> float:
        """Seconds until then, >= 0; infinite where there is none."""
        return max(0.0, self.at_s - time.monotonic())

    def sooner(self, seconds: float | None) -> Deadline:
        """The earlier of this one and so many seconds from now."""
        return Deadline(min(self.at_s, Deadline.within(seconds).at_s))

    def check(self) -> None:
        """Return only if the deadline is not over.

        Raises:
            OutOfTime: It is.
        """
        if self.passed:
            raise OutOfTime("the time budget is spent (--time-budget)")

    def guard(self, activations: Activations) -> Activations:
        """The same activations, refused once the time is over: whatever reads them ends between two batches."""

        def guarded(model: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
            self.check()
            for batch in activations(model, names):
                yield batch
                self.check()

        return guarded


NEVER = Deadline()
