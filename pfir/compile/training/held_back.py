"""How a training does on samples that it does not see, epoch by epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.run.evaluate import Scores, evaluate, reference

Arrays = Mapping[str, np.ndarray]

MOST_SAMPLES = 1000
MOST_ANSWER_BYTES = 64 << 20
"""Of the original's outputs, which are kept."""
MOST_SHARE = 0.1
"""Of the time since training began that may go into judging it; epochs for which that is too little are not judged."""
HELD_BACK_LOSS, ACCURACY, FIDELITY = "held_back_loss", "held_back_accuracy", "held_back_fidelity"


class HeldBack:
    """Judges what was learnt so far, on samples held back, by what the original says of them.

    Args:
        data: The samples; of many, the first are used.
        teacher: The original.
        learnt: The model that has what was learnt, given by initializer.
        threads: To run it on.
    """

    def __init__(self, data: Dataset, teacher: Model, learnt: Callable[[Arrays], Model], threads: int = 1) -> None:
        self._data = _some(data, teacher, threads)
        self._learnt, self._threads = learnt, threads
        self._reference = reference(teacher, self._data, threads)
        self._began, self._spent, self._longest = time.monotonic(), 0.0, 0.0
        self.told = ""

    def __call__(self, arrays: Arrays) -> dict[str, float]:
        """The divergence from the original, and the accuracy or else the fidelity; empty where that takes too long."""
        began = time.monotonic()
        if self._spent + self._longest > MOST_SHARE * (began - self._began):
            return {}
        scores = evaluate(self._learnt(arrays), self._data, self._reference, self._threads)
        took = time.monotonic() - began
        self._spent, self._longest = self._spent + took, max(self._longest, took)
        found = _figures(scores)
        self.told = ", held back: " + ", ".join(f"{n.removeprefix('held_back_')} {v:.4g}" for n, v in found.items())
        return found


def _some(data: Dataset, teacher: Model, threads: int) -> Dataset:
    """The first samples, so few that the answers to them may be kept; at least one."""
    answers = reference(teacher, data.subset(np.arange(1)), threads).outputs
    most = min(MOST_SAMPLES, MOST_ANSWER_BYTES // max(1, sum(y.nbytes for y in answers.values())))
    return data if len(data) <= most else data.subset(np.arange(max(1, most)))


def _figures(scores: Scores) -> dict[str, float]:
    found = {HELD_BACK_LOSS: scores.divergence, ACCURACY: scores.accuracy}
    if scores.accuracy is None:
        found[FIDELITY] = scores.fidelity
    return {name: value for name, value in found.items() if value is not None}
