"""Depthwise convolutions that step by one, over rows whose columns and channels are one axis: any width fills vectors.

A vector may run on into the next column, since what its taps read lies side by side too, whole columns apart. A strip
goes down the image: the weights of its channels and the sums of as many rows as the kernel has stay in registers, and
each input row is loaded once. Its vectors lie whole columns apart, so that they share the weights. Columns that lack
taps at the border are strips of their own. Packed weights are `[KH * KW + 1, R]`, the bias last; each goes round the
channels far enough for a vector that starts at the last of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, product
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.common import split, tail, to_index
from pfir.backends.tvm.kernels.offsets import REGISTERS, Offsets, from_value
from pfir.backends.tvm.kernels.written import argument, fence, start, store, where
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile


def pack(weight: np.ndarray, bias: np.ndarray | None, tile: AcrossTile) -> np.ndarray:
    """`[O, 1, KH, KW]` and `[O]` -> `[KH * KW + 1, R]`."""
    channels = len(weight)
    length = -(-(channels - 1 + tile.lanes) // tile.lanes) * tile.lanes
    last = np.zeros(channels, weight.dtype) if bias is None else bias
    rows = np.concatenate([weight.reshape(channels, -1).T, last.reshape(1, -1)])
    return np.ascontiguousarray(rows[:, np.arange(length) % channels])


def across(spec: KernelSpec, tile: AcrossTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `kernel`, `pads` (begin), and how columns are reached by
    `offsets`."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.dtype)
        flat = (T.decl_buffer((a.form.size,), a.form.dtype, data=a.tensor.data) for a in (operands[0], out))
        kernel = _Kernel(spec, tile, operands, *flat)
        for statement in kernel.first():
            T.add_to_parent(statement)
        for region in kernel.regions:
            kernel.write(region)
    return ib.get()


@dataclass(frozen=True)
class _Region:
    """Columns that have the same taps, in parts of as many, each of which has one of a strip's vectors.

    Args:
        first: Column.
        width: Columns of a part.
        parts: Where each begins, in columns from the first; the last ones may overlap.
        taps: Columns of the kernel that lie inside.
    """

    first: int
    width: int
    parts: tuple[int, ...]
    taps: tuple[int, ...]


@dataclass(frozen=True)
class _Kernel:
    """Writes the loops over strips."""

    spec: KernelSpec
    tile: AcrossTile
    operands: list[Any]
    data: Any
    result: Any

    @cached_property
    def offsets(self) -> Offsets | None:
        return Offsets(self.channels) if self.spec["offsets"] == REGISTERS else None

    @property
    def channels(self) -> int:
        return self.spec.out.shape[1]

    def axis(self, i: int) -> Axis:
        """Rows or columns."""
        data, out = self.spec.operands[0].shape[2 + i], self.spec.out.shape[2 + i]
        return Axis(data, out, self.spec["kernel"][i], 1, 1, self.spec["pads"][i])

    @property
    def regions(self) -> list[_Region]:
        found, axis = [], self.axis(1)
        for taps, run in groupby(range(axis.out), axis.inside):
            columns = list(run)
            count = min(self.tile.vectors, len(columns))
            width = -(-len(columns) // count)
            parts = tuple(min(i * width, len(columns) - width) for i in range(count))
            found.append(_Region(columns[0], width, parts, taps))
        return found

    def first(self) -> list[Any]:
        """The statements before all others: offsets of all columns that a strip reads beside its first one."""
        if self.offsets is None:
            return []
        apart = {part + kx - r.taps[0] for r in self.regions for part in r.parts for kx in r.taps}
        return self.offsets.statements(apart | {part for r in self.regions for part in r.parts})

    def write(self, region: _Region) -> None:
        """Strips of rows and vectors; the last ones end with the last row, and with the last value of the parts."""
        from tvm.tirx.script import builder as T

        size, out = region.width * self.channels, self.axis(0).out
        lanes = min(self.tile.lanes, 1 << (size.bit_length() - 1))
        rows = min(self.tile.rows, out)
        down, strips = -(-out // rows), -(-size // lanes)
        with (T.parallel if self.tile.threads > 1 else T.serial)(0, self.spec.out.shape[0] * down * strips) as n:
            top, value = start(n // strips % down, down, rows, out), start(n % strips, strips, lanes, size)
            _Strip(self, region, lanes, rows, _Place(n // strips // down, top, value)).write()


@dataclass(frozen=True)
class _Place:
    """The beginning of a strip: its image, its first row of output, and its first value in each part."""

    image: Any
    top: Any
    value: Any


class _Strip:
    """Writes one strip, which has `count` rows of output."""

    def __init__(self, kernel: _Kernel, region: _Region, lanes: int, count: int, at: _Place) -> None:
        self.kernel, self.region, self.lanes, self.count, self.at = kernel, region, lanes, count, at
        self.rows, self.columns = kernel.axis(0), kernel.axis(1)
        self.taps = self.rows.kernel * self.columns.kernel
        self.weights = self._registers(self.taps + 1)
        self.sums = self._registers(self.rows.kernel * len(region.parts))
        column = self.columns.at(region.first, region.taps[0] if region.taps else 0)
        self.source = self._from(kernel.data, self._value(self.rows.size, 0, self.columns.size, column))
        self.sink = self._from(kernel.result, self._value(self.rows.out, 0, self.columns.out, region.first))

    def _registers(self, count: int) -> Any:
        """Registers for `count` vectors."""
        from tvm.tirx.script import builder as T

        return T.alloc_buffer((count, self.lanes), self.kernel.spec.dtype, scope="local")

    def write(self) -> None:
        """A step for each input row: those alike go in rounds of as many as there are sums of a vector."""
        from tvm.tirx.script import builder as T

        packed, phase = self.kernel.operands[1].tensor, self.at.value % self.kernel.channels
        for tap in range(self.taps + 1):
            store(self.weights, self.lanes, lambda e, tap=tap: (packed[tap, phase + e], [tap, e]))
        kernel, steps = self.rows.kernel, self.count + self.rows.kernel - 1
        # Output rows that lie the kernel's rows apart use the same sums, so that rounds of as many steps are alike.
        alike = [t for t in range(kernel - 1, self.count) if self._lowest(t) >= 0 and self._highest(t) < self.rows.size]
        first, rounds = (alike or [steps])[0], len(alike) // kernel
        for t in range(first):
            self._step(t, 0)
        if rounds:
            with T.serial(0, rounds) as n:
                fence(self.kernel.offsets is not None)
                for t in range(first, first + kernel):
                    self._step(t, n * kernel)
        for t in range(first + rounds * kernel, steps):
            self._step(t, 0)

    def _lowest(self, t: int) -> int:
        """The input row of a step, in the uppermost strip."""
        return self.rows.at(0, t)

    def _highest(self, t: int) -> int:
        """The input row of a step, in the undermost strip."""
        return self.rows.at(self.rows.out - self.count, t)

    def _step(self, t: int, further: Any) -> None:
        """Read the input row that output row `t` of the strip reads first, `further` rows down."""
        kernel, bias = self.rows.kernel, self.taps
        if t < self.count:
            for to in self._sums(t):
                store(self.sums, self.lanes, lambda e, to=to: (self.weights[bias, e], [to, e]))
        row = self.rows.at(self.at.top + further, t)
        if self.region.taps and self._highest(t) >= 0 and self._lowest(t) < self.rows.size:
            with where(row >= 0, self._lowest(t) < 0), where(row < self.rows.size, self._highest(t) >= self.rows.size):
                self._row(t, further)
        if t >= kernel - 1:
            self._finish(t - kernel + 1, further)

    def _sums(self, y: int) -> range:
        """The sums of an output row of the strip, one for each part."""
        parts = len(self.region.parts)
        return range(y % self.rows.kernel * parts, (y % self.rows.kernel + 1) * parts)

    def _row(self, t: int, further: Any) -> None:
        """Multiply-adds of an input row into every output row that reads it."""
        taps, axis = self.region.taps, self.columns
        read = self._line(self.source, axis.size, self.rows.at(further, t))
        for kx, ky in product(taps, range(self.rows.kernel)):
            if not 0 <= t - ky < self.count:
                continue
            for part, to in zip(self.region.parts, self._sums(t - ky), strict=True):
                buffer, begin = read(part + kx - taps[0])
                store(
                    self.sums,
                    self.lanes,
                    lambda e, buffer=buffer, begin=begin, to=to, tap=ky * axis.kernel + kx: (
                        self.sums[to, e] + buffer[begin + e] * self.weights[tap, e],
                        [to, e],
                    ),
                )

    def _finish(self, y: int, further: Any) -> None:
        """The rest of the kernel's steps for an output row."""
        kernel, spec = self.kernel, self.kernel.spec
        write = self._line(self.sink, self.columns.out, further + y)
        begin = self._value(self.rows.out, further + y, self.columns.out, self.region.first)
        for part, of in zip(self.region.parts, self._sums(y), strict=True):
            buffer, at = write(part)

            def value(e: Any, part: int = part, of: int = of, at: Any = at) -> tuple[Any, list[Any]]:
                index = to_index(spec.out, split(begin + part * kernel.channels + e, spec.out.memory))
                return tail(spec, kernel.operands, index, self.sums[of, e]), [at + e]

            store(buffer, self.lanes, value)

    def _value(self, rows: int, row: Any, columns: int, column: int) -> Any:
        """The place of a value of the strip, `row` rows from its first one, in an image of these sizes."""
        line = self.at.image * rows + self.at.top + row
        return (line * columns + column) * self.kernel.channels + self.at.value

    def _from(self, buffer: Any, index: Any) -> tuple[Any, Any]:
        """The same place, in a buffer that begins there where columns are reached by offsets."""
        from tvm.tirx.script import builder as T

        if self.kernel.offsets is None:
            return buffer, index
        statements, rest = from_value(buffer, index)
        for statement in statements:
            T.add_to_parent(statement)
        return rest, 0

    def _line(self, place: tuple[Any, Any], columns: int, row: Any) -> Callable[[int], tuple[Any, Any]]:
        """The buffer and index of what lies some columns on, in the row that lies `row` rows from a place."""
        channels, offsets = self.kernel.channels, self.kernel.offsets
        buffer, index = self._from(place[0], place[1] + row * columns * channels)
        return lambda apart: (buffer, index + (apart * channels if offsets is None else offsets[apart]))
