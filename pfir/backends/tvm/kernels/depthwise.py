"""Depthwise convolutions that read the image where it lies: no bordered copy.

Weights are `[KH, KW, C]`. A tile is some columns by one vector of channels. Which taps of a column fall outside is
known as the kernel is written, so that the tiles at both ends simply lack them; a row's taps outside bound the loop
over the kernel's rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.written import along, argument, store
from pfir.backends.tvm.tiles import Tile

_STRIP_BYTES = 256 * 1024


def pack(weight: np.ndarray) -> np.ndarray:
    """`[C, 1, KH, KW]` -> `[KH, KW, C]`."""
    return np.ascontiguousarray(weight[:, 0].transpose(1, 2, 0))


def depthwise(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a schedule without anything left to schedule; `spec` has `kernel`, `strides` and `pads` (begin); the
    data is NHWC."""
    from tvm.s_tir import Schedule
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, "float32"))
        strips = spec.out.shape[2] // _strip(spec)
        with (T.parallel if tile.threads > 1 else T.serial)(0, spec.out.shape[0] * strips) as task:
            _Task(spec, tile, operands, result, task // strips, task % strips).write()
    return Schedule(ib.get())


def _strip(spec: KernelSpec) -> int:
    """Output rows that are finished for all channels before the next: as many as keep their input in a second-level
    cache, so that a line is fetched once."""
    rows, sh = spec.out.shape[2], spec["strides"][0]
    line = 4 * prod(spec.operands[0].memory[2:])
    fitting = [n for n in range(1, rows + 1) if rows % n == 0 and (n * sh + spec["kernel"][0]) * line <= _STRIP_BYTES]
    return max(fitting, default=1)


@dataclass(frozen=True)
class _Task:
    """The code of one strip of rows of one image."""

    spec: KernelSpec
    tile: Tile
    operands: list[Operand]
    result: Any
    batch: Any
    strip: Any

    def write(self) -> None:
        along(self.spec.out.shape[1], self.tile.lanes, self._rows)

    def _rows(self, c: Any, lanes: int) -> None:
        from tvm.tirx.script import builder as T

        rows = _strip(self.spec)
        with T.serial(0, rows) as row:
            y = self.strip * rows + row
            first, last = self._inner()
            for x in self._starts(0, first):
                self._tile(y, x, c, lanes)
            with T.serial(0, last - first) as i:
                self._tile(y, (first + i) * self.tile.rows, c, lanes, inner=True)
            for x in self._starts(last, self._count()):
                self._tile(y, x, c, lanes)

    def _count(self) -> int:
        return -(-self.spec.out.shape[3] // self.tile.rows)

    def _starts(self, first: int, last: int) -> list[int]:
        return [i * self.tile.rows for i in range(first, last)]

    def _inner(self) -> tuple[int, int]:
        """The tiles, first and behind the last, that are whole and have every tap inside."""
        taps, columns = range(self.spec["kernel"][1]), range(self.tile.rows)
        whole = [
            i for i in range(self.spec.out.shape[3] // self.tile.rows)
            if all(self._inside(i * self.tile.rows + x, tap) for x in columns for tap in taps)
        ]  # fmt: skip
        return (whole[0], whole[-1] + 1) if whole else (0, 0)

    def _inside(self, x: int, tap: int) -> bool:
        return 0 <= self._column(x, tap) < self.spec.operands[0].shape[3]

    def _column(self, x: Any, tap: int) -> Any:
        return x * self.spec["strides"][1] + tap - self.spec["pads"][1]

    def _tile(self, y: Any, start: Any, c: Any, lanes: int, inner: bool = False) -> None:
        """One register tile: sums over the taps, then the steps behind the convolution."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        (kh, kw), top = self.spec["kernel"], y * self.spec["strides"][0] - self.spec["pads"][0]
        height = self.spec.operands[0].shape[2]
        columns = self.tile.rows if inner else min(self.tile.rows, self.spec.out.shape[3] - start)
        sums = T.alloc_buffer((columns, lanes), "float32", scope="local")
        for x in range(columns):
            store(sums, lanes, lambda e, x=x: (const(0), [x, e]))
        low, high = tirx.max(0, -top), tirx.min(kh, height - top)
        with T.serial(low, high) as ry:
            for tap in range(kw):
                for x in range(columns):
                    if inner or self._inside(start + x, tap):
                        store(sums, lanes, lambda e, x=x, tap=tap: (
                            sums[x, e] + self.operands[0](self.batch, c + e, top + ry, self._column(start + x, tap))
                            * self.operands[1](ry, tap, c + e), [x, e]))  # fmt: skip
        for x in range(columns):
            store(self.result, lanes, lambda e, x=x: (
                tail(self.spec, self.operands, (self.batch, c + e, y, start + x), sums[x, e]),
                [self.batch, y, start + x, c + e]))  # fmt: skip
