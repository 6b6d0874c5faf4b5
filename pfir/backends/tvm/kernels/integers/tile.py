"""One register tile of an integer convolution: some positions by the vectors of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.axis import Stretches
from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.integers.dot_products import DOT_PRODUCTS, four, fours
from pfir.backends.tvm.kernels.integers.groups import TOGETHER, Cut, cut, values_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.rounding import rounding_last, store_rounded
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, fence, store
from pfir.backends.tvm.schedule.blocks import Block
from pfir.target import SINGLE


@dataclass(frozen=True)
class Buffers:
    """What a kernel reads and writes; columns and channels of the image are one axis, `[N, H, W * C]`."""

    operands: list[Operand]
    image: Any
    result: Any


@dataclass(frozen=True)
class Place:
    """The first position of a tile, and its first channel within a group."""

    batch: Any
    y: Any
    x: Any
    group: Any
    channel: Any


@dataclass(frozen=True)
class _Run:
    """Values side by side in a row of the image: the row, the first one under a tile's first position, the first of
    their packed weights, how many there are, and the positions for which they count."""

    row: Any
    begin: Any
    weights: Any
    length: int
    who: tuple[int, ...]


@dataclass(frozen=True)
class RegisterTile:
    """The statements of one tile.

    Args:
        weights: Where the packed weights of its block begin.
        rows: The classes of the image's rows.
        columns: How many classes of columns there are.
        kinds: The class of each position's column.
        taps: Those of the kernel's columns that meet the image.
    """

    layer: Layer
    buffers: Buffers
    block: Block
    place: Place
    weights: Any
    rows: Border
    columns: int
    kinds: tuple[int, ...]
    taps: Stretches

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        sums = [T.alloc_buffer((len(self.kinds), width), "int32", scope="local") for width in self.block.lanes]
        self._begin(sums)
        first, last = self.layer.lines(self.place.y)
        if self.taps:
            with T.serial(first, last) as ky:
                for tap, count, who in self.taps:
                    self._stretch(ky, tap, count, who, sums)
        for i, (j, width) in pairs(range(len(self.kinds)), enumerate(self.block.lanes)):
            self._result(i, j, width, sums[j])

    @property
    def _dot(self) -> Any:
        return DOT_PRODUCTS[self.layer.spec["dot"]]

    def _channel(self, j: int) -> Any:
        """The first channel within the group of vector `j`."""
        from tvm import tirx

        begin = self.place.channel + sum(self.block.lanes[:j])
        return tirx.min(begin, max(0, self.layer.channels - self.block.lanes[j]))

    def _begin(self, sums: list[Any]) -> None:
        """Sums start from the bias, and what the zero point adds."""
        row, outputs = self.rows_class(), self.layer.spec.out.shape[1]
        for i, (j, width) in pairs(range(len(self.kinds)), enumerate(self.block.lanes)):
            at = (row * self.columns + self.kinds[i]) * outputs + self.place.group * self.layer.channels
            begin = at + self._channel(j)
            kept = min(width, self.layer.channels)
            store(
                sums[j],
                kept,
                lambda e, i=i, begin=begin: (self.buffers.operands[2].tensor[begin + e], [i, e]),
            )

    def rows_class(self) -> Any:
        """The class of the tile's row."""
        from tvm import tirx

        rows, y = self.rows, self.place.y
        if rows.classes == 1:
            return 0
        return tirx.min(y, rows.before) + tirx.max(0, y - (rows.out - rows.behind) + 1)

    def _stretch(self, ky: Any, tap: int, count: int, who: tuple[int, ...], sums: list[Any]) -> None:
        """Add the values under these taps of a row of the kernel: those of all taps where they lie side by side in
        whole groups, else those of one tap after the other."""
        from tvm.tirx.script import builder as T

        layer, spec, inner = self.layer, self.layer.spec, self.layer.inner
        beside = inner == layer.step and inner % TOGETHER == 0
        row = self.place.y * spec["strides"][0] + ky * spec["dilations"][0] - layer.rows.pad
        start = self.place.x * layer.stride - layer.left + self.place.group * inner
        packed = TOGETHER * sum(self.block.lanes) * len(values_of(inner))
        with T.serial(0, 1 if beside else count) as kx:
            weights = self.weights + (ky * spec["kernel"][1] + tap + kx) * packed
            length = inner * (count if beside else 1)
            self._add(_Run(row, start + (tap + kx) * layer.step, weights, length, who), sums)

    def _add(self, run: _Run, sums: list[Any]) -> None:
        """Add the products of a run."""
        from tvm.tirx.script import builder as T

        found, group = cut(run.length), TOGETHER * sum(self.block.lanes)
        fenced = self.layer.spec["fenced"] and self._instructions(run, found) <= WRITTEN_OUT

        def some(start: Any, groups: int, first: int, weights: Any) -> None:
            fence(fenced)
            value = self._values(run, start, groups)
            for e in range(first, groups):
                self._multiply(run, sums, lambda i, e=e: value(i, e), weights + (e - first) * group)

        with T.serial(0, found.whole) as k:
            values = TOGETHER * found.groups
            some(k * values, found.groups, 0, run.weights + k * found.groups * group)
        if found.last:
            behind = run.weights + found.whole * found.groups * group
            some(found.last.start, found.last.groups, found.last.skipped, behind)

    def _instructions(self, run: _Run, found: Cut) -> int:
        return found.count * len(run.who) * sum(-(-width // self._dot.lanes[0]) for width in self.block.lanes)

    def _values(self, run: _Run, start: Any, groups: int) -> Callable[[int, int], Any]:
        """Group `e` of a position's input values as one int32: from the lanes of a register where values are the
        second factor, else each from memory."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        def index(i: int, at: Any) -> list[Any]:
            return [self.place.batch, run.row, run.begin + i * self.layer.stride + at]

        if self._dot.values_first:
            return lambda i, e: four(self.buffers.image, index(i, start + TOGETHER * e))
        cells = T.alloc_buffer((len(self.kinds), groups), "int32", scope="local")
        for i in run.who:
            lanes = 0 if groups == 1 else tirx.Ramp(0, 1, groups)
            T.buffer_store(cells, fours(self.buffers.image, index(i, start), groups), [i, lanes])
        return lambda i, e: cells[i, e]

    def _multiply(self, run: _Run, sums: list[Any], value: Callable[[int], Any], weights: Any) -> None:
        """Multiply a group of each position's values by their weights for all vectors."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        at = 0
        for j, width in enumerate(self.block.lanes):
            lanes = next(lanes for lanes in self._dot.lanes if lanes <= width)
            for first in range(0, width, lanes):
                some = tirx.Ramp(weights + TOGETHER * at, 1, TOGETHER * lanes)
                factor = tirx.BufferLoad(self.buffers.operands[1].tensor, [some])
                for i in run.who:
                    place = [i, tirx.Ramp(first, 1, lanes)]
                    total = tirx.BufferLoad(sums[j], place)
                    T.buffer_store(sums[j], self._dot.add(total, value(i), factor, lanes), place)
                at += lanes

    def _result(self, i: int, j: int, width: int, sums: Any) -> None:
        """Write a vector of a position's channels, with what follows the convolution; of more lanes than there are
        channels one after the other."""
        kept = self.layer.channels
        if width <= kept:
            self._vector(i, self._channel(j), width, lambda e: sums[i, e])
            return
        for e in range(kept):
            self._vector(i, e, 1, lambda _, e=e: sums[i, e])

    def _vector(self, i: int, channel: Any, lanes: int, total: Callable[[Any], Any]) -> None:
        from tvm.tirx.script import builder as T

        steps, rounding = rounding_last(self.layer.spec)
        b, y, x = self.place.batch, self.place.y, self.place.x + i
        first = self.place.group * self.layer.channels + channel

        def value(e: Any) -> Any:
            return tail(steps, self.buffers.operands, (b, first + e, y, x), total(e).astype(SINGLE))

        if rounding is None:
            store(self.buffers.result, lanes, lambda e: (value(e), [b, y, x, first + e]))
            return
        scaled = T.alloc_buffer((lanes,), SINGLE, scope="local")
        store(scaled, lanes, lambda e: (value(e) / rounding.scale if rounding.scale != 1 else value(e), [e]))
        by = self.layer.spec["by"] if lanes > 1 else "any"
        store_rounded(self.buffers.result, [b, y, x, first], scaled, lanes, rounding, by)
