"""All that the steps of a training move, to be kept and gone back to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.train.masks import Masks
from pfir.train.optimizing.average import WeightAverage
from pfir.train.optimizing.base import Optimizer
from pfir.train.session import TrainSession

Arrays = dict[str, np.ndarray]
_OPTIMIZER, _AVERAGE = "optimizer/", "average/"


@dataclass(frozen=True)
class Moments:
    """What moves: parameters and statistics of the session, the optimizer's state, the average of weights.

    `masks` hold the zeros of the parameters.
    """

    session: TrainSession
    optimizer: Optimizer
    average: WeightAverage | None = None
    masks: Masks | None = None

    def now(self) -> Arrays:
        """Copies of everything, by name."""
        own = {"parameters": self.session.parameters.flat, "statistics": self.session.statistics.flat}
        optimizer = _under(_OPTIMIZER, self.optimizer.state())
        average = _under(_AVERAGE, self.average.state()) if self.average else {}
        return {name: array.copy() for name, array in {**own, **optimizer, **average}.items()}

    def go_back(self, moment: Arrays) -> None:
        """To what `now` gave."""
        self.session.parameters.flat[:] = moment["parameters"]
        self.session.set_statistics(moment["statistics"])
        self.optimizer.restore(part(moment, _OPTIMIZER))
        if self.average:
            self.average.restore(part(moment, _AVERAGE))
        if self.masks:
            self.masks.look()

    def mask(self, progress: float) -> None:
        """Keep zeros zero, and make those that are due after this share of the training."""
        if self.masks:
            average = [self.average.parameters] if self.average else []
            self.masks.apply((*self.optimizer.state().values(), *average), progress)

    @property
    def gains_zeros(self) -> bool:
        """Whether zeros come while it is trained, each time at the cost of a higher loss."""
        return self.masks is not None and self.masks.grow

    def has_its_zeros(self, progress: float) -> bool:
        """Whether no further zeros are to come after this share of the training."""
        return self.masks is None or self.masks.is_complete(progress)

    def averaged(self) -> Arrays:
        """The average of parameters and statistics by initializer name; there is one."""
        assert self.average is not None, "an average is kept"
        parameters = self.session.parameters.named(self.average.parameters)
        return parameters | self.session.statistics.named(self.average.statistics)


def part(arrays: Arrays, prefix: str) -> Arrays:
    """Those whose names begin so, without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def _under(prefix: str, arrays: Arrays) -> Arrays:
    return {f"{prefix}{name}": array for name, array in arrays.items()}
