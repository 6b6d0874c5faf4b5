"""Sums of products of bytes in a register tile, and what adds to them: dot products of four values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.integers.dot_products import DotProduct, four, fours, lone_four
from pfir.backends.tvm.kernels.integers.groups import TOGETHER


@dataclass(frozen=True)
class Run:
    """Values side by side in a row of the image, under each position of a tile.

    Args:
        batch, row: Where the row is.
        begin: The first value under a tile's first position.
        stride: Values from one position to the next.
        weights: The first of their packed weights.
        length: How many values there are.
        who: The positions for which they count.
    """

    batch: Any
    row: Any
    begin: Any
    stride: int
    weights: Any
    length: int
    who: tuple[int, ...]

    def index(self, i: int, at: Any) -> list[Any]:
        """Where value `at` of a position is."""
        return [self.batch, self.row, self.begin + i * self.stride + at]


@dataclass(frozen=True)
class Sums(ABC):
    """The sums of a tile.

    Args:
        lanes: Of each vector of channels.
        positions: How many there are.
        image, weights: The buffers that are read.
        cells: For each vector of channels int32 `[positions, lanes]`, the sums as they begin and as they end.
    """

    lanes: tuple[int, ...]
    positions: int
    image: Any
    weights: Any
    cells: list[Any]

    @property
    def late(self) -> bool:
        """Whether cells get their first values in the end, since products are added elsewhere."""
        return False

    @abstractmethod
    def begin(self) -> None:
        """Bring the first values to where products are added."""

    @abstractmethod
    def add(self, run: Run, start: Any, groups: int, first: int, weights: Any) -> None:
        """Add the products of the groups from the `first` on, of the load of so many at `start` within the run, with
        the weights from there on."""

    @abstractmethod
    def finish(self) -> None:
        """Bring all sums back to their cells."""


@dataclass(frozen=True)
class DotSums(Sums):
    """Sums by dot products.

    Args:
        dot: The instruction.
    """

    dot: DotProduct

    def begin(self) -> None:
        """They are added where they lie."""

    def finish(self) -> None:
        """They lie there."""

    def add(self, run: Run, start: Any, groups: int, first: int, weights: Any) -> None:
        value, group = self._values(run, start, groups), TOGETHER * sum(self.lanes)
        for e in range(first, groups):
            self._multiply(run, lambda i, e=e: value(i, e), weights + (e - first) * group)

    def _values(self, run: Run, start: Any, groups: int) -> Callable[[int, int], Any]:
        """Group `e` of a position's input values as one int32: from the lanes of a register where values are the
        second factor, else each from memory."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        if self.dot.values_first:
            return lambda i, e: four(self.image, run.index(i, start + TOGETHER * e))
        if groups == 1:
            return lambda i, e: lone_four(self.image, run.index(i, start))
        cells = T.alloc_buffer((self.positions, groups), "int32", scope="local")
        for i in run.who:
            T.buffer_store(cells, fours(self.image, run.index(i, start), groups), [i, tirx.Ramp(0, 1, groups)])
        return lambda i, e: cells[i, e]

    def _multiply(self, run: Run, value: Callable[[int], Any], weights: Any) -> None:
        """Multiply a group of each position's values by their weights for all vectors."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        at = 0
        for cells, width in zip(self.cells, self.lanes, strict=True):
            lanes = next(lanes for lanes in self.dot.lanes if lanes <= width)
            for first in range(0, width, lanes):
                some = tirx.Ramp(weights + TOGETHER * at, 1, TOGETHER * lanes)
                factor = tirx.BufferLoad(self.weights, [some])
                for i in run.who:
                    place = [i, tirx.Ramp(first, 1, lanes)]
                    total = tirx.BufferLoad(cells, place)
                    T.buffer_store(cells, self.dot.add(total, value(i), factor, lanes), place)
                at += lanes
