"""Zeros that training keeps, and how they spread."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pfir.ir.training import Growth, TrainingGraph
from pfir.train.flat import FlatBuffer


class Masks:
    """The zeros of the masked initializers of a training graph: what is zero stays so, and by a growth more become.

    Args:
        graph: Tells which, and how zeros spread.
        parameters: What is learnt.
    """

    def __init__(self, graph: TrainingGraph, parameters: FlatBuffer) -> None:
        names = dict.fromkeys((*graph.masked, *(graph.growth.sparsity if graph.growth else ())))
        self._growth, self._parameters = graph.growth, parameters
        self._names = tuple(name for name in names if name in parameters.views)
        places = parameters.views if self._names else {}
        self._keep = FlatBuffer({name: np.ones_like(view) for name, view in places.items()})
        self._start = {name: _zeros(parameters.views[name]) for name in self._names}
        self._done = 0
        self.look()

    @property
    def identity(self) -> str:
        """What of it decides about a training, as text."""
        growth = self._growth
        spread = growth and (dict(growth.sparsity), growth.begin, growth.end, growth.updates)
        return repr((self._names, spread))

    @property
    def grow(self) -> bool:
        """Whether further zeros come while the graph is trained."""
        return self._growth is not None

    def look(self) -> None:
        """Keep what is zero now: at first, and where other parameters were put in place."""
        self._done = 0
        for name in self._names:
            self._keep.views[name][...] = self._parameters.views[name] != 0

    def apply(self, followers: Iterable[np.ndarray], progress: float) -> None:
        """Make zero what is to be, in the parameters and in what follows them.

        Args:
            followers: Momentum and averages; those of another size than the parameters' are left alone.
            progress: Share of the training that is done.
        """
        if not self._names:
            return
        if self._growth is not None:
            self._spread(self._growth, progress)
        self._parameters.flat *= self._keep.flat
        self._parameters.flat += 0.0  # -0.0 becomes 0.0: a file keeps no zero, but every -0.0
        for follower in followers:
            if follower.shape == self._keep.flat.shape:
                follower *= self._keep.flat

    def is_complete(self, progress: float) -> bool:
        """Whether no further zeros are to come after this share of the training."""
        return self._growth is None or _updates(self._growth, progress) >= self._growth.updates

    def _spread(self, growth: Growth, progress: float) -> None:
        due = _updates(growth, progress)
        if due <= self._done:
            return
        self._done = due
        for name, final in growth.sparsity.items():
            if name not in self._names:
                continue
            start = min(self._start[name], final)
            share = final + (start - final) * (1 - due / growth.updates) ** 3
            view, keep = self._parameters.views[name], self._keep.views[name]
            chosen = _largest(view, share) if growth.keep is None else growth.keep(name, view, share)
            keep *= chosen


def _updates(growth: Growth, progress: float) -> int:
    """How many updates are due after this share of the training."""
    share = (progress - growth.begin) / (growth.end - growth.begin)
    return int(np.clip(share, 0, 1) * growth.updates + 1e-9)


def _largest(values: np.ndarray, share: float) -> np.ndarray:
    """bool in the shape of the values: False for a share of them, rounded down, the least first."""
    keep = np.ones(values.size, bool)
    keep[np.argsort(np.abs(values), axis=None, kind="stable")[: int(values.size * share + 1e-9)]] = False
    return keep.reshape(values.shape)


def _zeros(values: np.ndarray) -> float:
    return float(np.mean(values == 0))
