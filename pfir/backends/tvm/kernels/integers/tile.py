"""One register tile of integer sums: some positions by the vectors of a block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.direct.tile import Buffers, Place
from pfir.backends.tvm.kernels.integers.dot_products import DOT_PRODUCTS
from pfir.backends.tvm.kernels.integers.groups import Cut, cut
from pfir.backends.tvm.kernels.integers.matrix_sums import MatrixSums
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.pairs.products import PAIR_PRODUCTS
from pfir.backends.tvm.kernels.integers.pairs.sums import pair_sums
from pfir.backends.tvm.kernels.integers.results import Vector, write_vectors
from pfir.backends.tvm.kernels.integers.sums import DotSums, Run, Sums
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, fence, store
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import SMMLA
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS

CROWDED = 64
"""Sums that fill half of the registers of 64-bit Arm; with more of them few are free."""


@dataclass(frozen=True)
class RegisterTile(ABC):
    """The statements of one tile.

    Args:
        rows: The classes of the image's rows.
        columns: How many classes of columns there are.
        kinds: The class of each position's column.
    """

    layer: Layer
    buffers: Buffers
    block: Block
    place: Place
    rows: Border
    columns: int
    kinds: tuple[int, ...]

    @abstractmethod
    def multiply(self, sums: Sums) -> None:
        """Add all products."""

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        sums = [T.alloc_buffer((len(self.kinds), width), "int32", scope="local") for width in self.block.lanes]
        found = self._sums(sums)
        if not found.late:
            self._begin(sums)
        found.begin()
        self.multiply(found)
        fence(self.layer.spec["fenced"], whole=True)
        if found.late:
            self._begin(sums)
        found.finish()
        for j, width in enumerate(self.block.lanes):
            self._results(j, width, sums[j])

    def add(self, run: Run, sums: Sums) -> None:
        """Add the products of a run."""
        from tvm.tirx.script import builder as T

        together = self.layer.spec["together"]
        found, group = cut(run.length, together), together * sum(self.block.lanes)
        fenced = self.layer.spec["fenced"] and self._instructions(run, found) <= WRITTEN_OUT

        def some(start: Any, groups: int, first: int, weights: Any) -> None:
            fence(fenced, whole=True)
            sums.add(run, start, groups, first, weights)

        done = 0
        for groups, count in found.loads(self._at_once):
            with T.serial(0, count) as k:
                first = done + k * groups
                some(first * together, groups, 0, run.weights + first * group)
            done += groups * count
        if found.last:
            behind = run.weights + found.whole * found.groups * group
            some(found.last.start, found.last.groups, found.last.skipped, behind)

    def _sums(self, cells: list[Any]) -> Sums:
        """What products are added to."""
        from tvm.tirx.script import builder as T

        lanes, positions = self.block.lanes, len(self.kinds)
        common = (lanes, positions, self.buffers.image, self.buffers.operands[1].tensor, cells)
        dot, together, fenced = (self.layer.spec[name] for name in ("dot", "together", "fenced"))
        if dot in PAIR_PRODUCTS:
            return pair_sums(PAIR_PRODUCTS[dot], together, fenced, *common)
        if dot != SMMLA:
            return DotSums(*common, DOT_PRODUCTS[dot])
        shapes = [(-(-positions // 2), width // 2, 4) for width in lanes]
        return MatrixSums(*common, [T.alloc_buffer(shape, "int32", scope="local") for shape in shapes])

    @property
    def _crowded(self) -> bool:
        """Whether the sums leave so few registers free that LLVM, which mixes what is done to them, spills."""
        return self.layer.spec["fenced"] and sum(self.block.lanes) * len(self.kinds) > CROWDED

    @property
    def _at_once(self) -> int:
        """Pieces of a run that are loaded together."""
        dot, together = self.layer.spec["dot"], self.layer.spec["together"]
        return PAIR_VECTORS[dot].pieces(together) if dot in PAIR_VECTORS else 1

    def _channel(self, j: int) -> Any:
        """The first channel within the group of vector `j`."""
        from tvm import tirx

        begin = self.place.channel + sum(self.block.lanes[:j])
        return tirx.min(begin, max(0, self.layer.channels - self.block.lanes[j]))

    def _begin(self, sums: list[Any]) -> None:
        """Sums start from the bias, and what the zero point adds."""
        row, outputs = self.rows.at(self.place.y), self.layer.spec.out.shape[1]
        for i, (j, width) in pairs(range(len(self.kinds)), enumerate(self.block.lanes)):
            at = (row * self.columns + self.kinds[i]) * outputs + self.place.group * self.layer.channels
            begin = at + self._channel(j)
            kept = min(width, self.layer.channels)
            store(
                sums[j],
                kept,
                lambda e, i=i, begin=begin: (self.buffers.operands[2].tensor[begin + e], [i, e]),
            )

    def _instructions(self, run: Run, found: Cut) -> int:
        """About how many instructions multiply."""
        dot = self.layer.spec["dot"]
        lanes = DOT_PRODUCTS[dot].lanes[0] if dot in DOT_PRODUCTS else 4
        return found.count * len(run.who) * sum(-(-width // lanes) for width in self.block.lanes)

    def _results(self, j: int, width: int, sums: Any) -> None:
        """Write a vector of all positions' channels, with what follows the convolution; of more lanes than there are
        channels in parts."""
        if width <= self.layer.channels:
            self._vectors(self._channel(j), 0, width, sums)
            return
        for first, lanes in parts_of(self.layer.channels):
            self._vectors(first, first, lanes, sums)

    def _vectors(self, channel: Any, first: int, lanes: int, sums: Any) -> None:
        """Write so many lanes of each position's sums, from the `first` on, as those of the channels from there on."""
        place, begin = self.place, self.place.group * self.layer.channels + channel

        def vector(i: int) -> Vector:
            return Vector(place.batch, begin, place.y, place.x + i, lambda e: sums[i, first + e])

        vectors = [vector(i) for i in range(len(self.kinds))]
        write_vectors(self.layer.spec, self.buffers.operands, self.buffers.result, lanes, vectors, self._crowded)


def parts_of(channels: int) -> list[tuple[int, int]]:
    """Vectors that cover so few channels, none twice: the first channel and the lanes of each."""
    lanes = next((lanes for lanes in (8, 4) if lanes <= channels), 1)
    return [(0, lanes)] + [(lanes + first, width) for first, width in parts_of(channels - lanes)] if channels else []
