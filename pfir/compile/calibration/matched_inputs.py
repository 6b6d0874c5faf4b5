"""Generated inputs matched to what BatchNormalization has seen, where the model still has it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from pfir.data.base import Dataset
from pfir.data.generated import Range
from pfir.errors import TrainingError, UsageError
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.model import Model
from pfir.passes.batch_norm.match_statistics import ADDED, matching_graph
from pfir.passes.quantization.rounding.adam import Adam
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.feeding.augment import View, flip_crop
from pfir.train.steps import Steps

STEPS = 50
BATCH, LEAST = 16, 32
"""Samples that are matched together, and fewer than which all in all are no use."""
MOST = 128
RATE = 0.1
"""Of the input's standard deviation, the first step; the last one is near 0."""
SHARE, MOST_S, MACS_A_SECOND = 0.1, 60.0, 5e9
"""What matching may take: of the time budget, at most, at the speed that forward and backward passes
of ResNet-20 reach with the statistics of all its layers between them."""


@dataclass(frozen=True)
class Matching:
    """How inputs are matched.

    Args:
        model: As loaded, every size fixed.
        budget_s: Seconds of the whole run.
        jobs: Threads.
        engine: What differentiates.
    """

    model: Model
    budget_s: float
    jobs: int = 1
    engine: str = AUTO_ENGINE

    @property
    def count(self) -> int:
        """How many samples the time is enough for, `MOST` at most; 0 where they are too few."""
        macs = max(1, model_cost(self.model).macs)
        affordable = min(SHARE * self.budget_s, MOST_S) * MACS_A_SECOND / (3 * STEPS * macs)
        count = BATCH * int(min(affordable, MOST) / BATCH)
        return count if count >= LEAST else 0

    def of(self, data: Dataset, bounds: Range) -> np.ndarray | None:
        """The first samples of the data, changed until their activations have the statistics that the model holds.

        None where the model holds none, has another kind of input, or matching would take too long.

        Args:
            data: Generated, with one input.
            bounds: What the values keep to.
        """
        if len(data.inputs) != 1 or min(self.count, len(data)) < LEAST:
            return None
        try:
            return self._matched(data, bounds)
        except (UsageError, TrainingError):
            return None

    def _matched(self, data: Dataset, bounds: Range) -> np.ndarray:
        (name,) = data.inputs
        count = min(self.count, len(data)) // BATCH * BATCH
        first = data.batch(np.arange(BATCH))
        steps = Steps(matching_graph(self.model, BATCH), first, self.jobs, self.engine)
        batches = (data.batch(np.arange(at, at + BATCH))[name] for at in range(0, count, BATCH))
        return np.concatenate([self._batch(steps, name, given, bounds) for given in batches])

    def _batch(self, steps: Steps, name: str, given: np.ndarray, bounds: Range) -> np.ndarray:
        """These samples with what brings them nearest."""
        added, adam = np.zeros_like(given), Adam(given.shape)
        best, nearest = np.inf, added
        spread = RATE * float(given.std())
        for step in range(STEPS):
            loss, gradients = steps({ADDED: added}, {name: given})
            if loss < best:
                best, nearest = loss, added.copy()
            adam.step(added, gradients[ADDED], spread * 0.5 * (1 + math.cos(math.pi * step / STEPS)))
            added = np.clip(given + added, bounds.low, bounds.high).astype(given.dtype) - given
        return given + nearest


class Moved(Dataset):
    """As many samples as asked for of a few: each of them as it is, then moved; in later turns all are moved anew.

    Args:
        name: Of the input.
        samples: [N, ...]; what has four axes is moved by up to an eighth of its size, anything else repeats.
        count: How many.
        seed: Of the moves.
    """

    kind = "generated"
    labels = None

    def __init__(self, name: str, samples: np.ndarray, count: int, seed: int, turn: int = 0) -> None:
        self.inputs = (name,)
        self._samples, self._count, self._seed, self._turn = samples, count, seed, turn
        rng = np.random.default_rng([seed, turn])
        self._view = View(np.zeros(count, bool), rng.uniform(-1, 1, (count, 2)))

    def __len__(self) -> int:
        return self._count

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        samples = self._samples[indices % len(self._samples)]
        if samples.ndim != 4:
            return {self.inputs[0]: samples}
        as_they_are = (indices < len(self._samples)) & (self._turn == 0)
        moved = flip_crop(samples, self._view.of(indices))
        return {self.inputs[0]: np.where(as_they_are[:, None, None, None], samples, moved)}

    def anew(self, turn: int) -> Dataset:
        return Moved(self.inputs[0], self._samples, self._count, self._seed, turn) if turn else self

    def fingerprint(self) -> str:
        text = f"moved {self._count} {self._seed} {self._turn} {self._samples.shape}"
        return hashlib.sha256(text.encode() + self._samples.tobytes()).hexdigest()
