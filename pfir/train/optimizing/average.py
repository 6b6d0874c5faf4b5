"""The exponential moving average of what a training moves: weights and running statistics."""

from __future__ import annotations

import numpy as np

from pfir.train.optimizing.base import Arrays, copy_into


class WeightAverage:
    """a <- d a + (1 - d) p after every step, with d = min(decay, t / (t + 1)) after t steps before it.

    The smaller d of the first steps makes the average the plain mean of all that has been, so that the untrained start
    has no weight in it.

    Args:
        size: Parameters.
        statistics: Running statistics of BatchNormalization, averaged alike: those of a step belong to its weights.
        decay: 0 < decay < 1.

    Source: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017, arXiv:1703.01780, section 3;
    the first steps as in their code.
    """

    def __init__(self, size: int, statistics: int, decay: float) -> None:
        self.parameters, self.statistics = np.zeros(size, np.float32), np.zeros(statistics, np.float32)
        self._steps, self._decay = np.zeros(1, np.int64), decay

    @np.errstate(over="ignore", invalid="ignore")  # Who trains notices that it diverged.
    def update(self, parameters: np.ndarray, statistics: np.ndarray) -> None:
        """Take in what a step has led to."""
        steps = int(self._steps[0])
        share = np.float32(1 - min(self._decay, steps / (steps + 1)))
        self.parameters += share * (parameters - self.parameters)
        self.statistics += share * (statistics - self.statistics)
        self._steps += 1

    def state(self) -> dict[str, np.ndarray]:
        """The averages and the number of steps: the arrays themselves."""
        return {"parameters": self.parameters, "statistics": self.statistics, "steps": self._steps}

    def restore(self, arrays: Arrays) -> None:
        """Go back to a state."""
        copy_into(self.state(), arrays)
