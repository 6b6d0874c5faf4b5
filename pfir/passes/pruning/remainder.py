"""A model from which channels go part by part: what is left at any time, as a model of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from pfir.ir.coupling.channels import remove_channels
from pfir.ir.coupling.groups import Coupling
from pfir.ir.coupling.narrowing import narrowed, still_there
from pfir.ir.coupling.removal import Cut
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.pruning.moments import Statistics
from pfir.passes.pruning.reconstruct import reconstruct
from pfir.passes.pruning.refit import refit


class Remainder:
    """A model whose channels are noted, their consumers made to do without them, and removed at once at the end.

    Args:
        model: Its weights change with each removal; its channels go with `finish`.
        coupling: The groups of the model.
    """

    def __init__(self, model: Model, coupling: Coupling) -> None:
        self._model, self._coupling = model, coupling
        self._original = model.clone()
        self._removed: dict[str, np.ndarray] = {}

    def now(self) -> tuple[Model, Coupling]:
        """A model without the channels noted so far, and its coupling: the same groups, narrower."""
        left = self._model.clone()
        remove_channels(left, self._coupling, self._removed)
        return left, narrowed(self._coupling, self._removed)

    def remove(self, removed: Mapping[str, np.ndarray], statistics: Statistics | None) -> None:
        """Note channels; where there are statistics of `now()`, what reads these channels makes up for them.

        Args:
            removed: Group name to channel indices in the groups of `now()`.
        """
        if statistics is not None:
            with self.rewriting() as (left, coupling):
                reconstruct(left, coupling, removed, statistics)
        for name, channels in removed.items():
            gone = self._removed.get(name, np.zeros(0, np.int64))
            staying = still_there(self._coupling.group(name).size, gone)
            self._removed[name] = np.union1d(gone, staying[channels])

    def fit(self, names: Collection[str], context: Context) -> None:
        """Fit what read channels of these groups, in turn, to what the original gave there, on what flows by now."""
        tensors = {part.tensor for name in names for part in self._coupling.group(name).consuming}
        with self.rewriting() as (left, _):
            infer_shapes(left)
            refit(left, self._original, self._coupling, self._removed, context, tensors)

    @contextmanager
    def rewriting(self) -> Iterator[tuple[Model, Coupling]]:
        """The model and coupling of `now()`; arrays that are set in this model meanwhile are so in the end."""
        left, coupling = self.now()
        before = {name: t.values for name, t in left.initializers().items()}
        yield left, coupling
        axes, whole = Cut(self._coupling, self._removed).by_tensor(), self._model.initializers()
        self._model.set_arrays(
            {
                name: _within(whole[name].values, t.values, axes.get(name, []))
                for name, t in left.initializers().items()
                if t.values is not before[name]
            }
        )

    def finish(self) -> dict[str, np.ndarray]:
        """Remove what was noted from the model; the channels that went, by group name."""
        remove_channels(self._model, self._coupling, self._removed)
        return self._removed


def _within(whole: np.ndarray, part: np.ndarray, axes: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """The whole array with the values of its part, which has the positions that these (axis, mask) keep."""
    kept = [np.arange(size) for size in whole.shape]
    for axis, mask in axes:
        kept[axis] = np.flatnonzero(mask)
    result = whole.copy()
    result[np.ix_(*kept)] = part
    return result
