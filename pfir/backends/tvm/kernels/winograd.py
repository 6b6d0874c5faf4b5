"""Winograd convolutions: 3x3 kernels of stride 1, as products over transformed tiles of the image.

An output tile of m x m positions (m is 2 or 4) comes from m + 2 rows and columns of input. Both transforms run along
one axis after the other, vectors along the channels; between them each of the (m + 2)^2 points is a matrix product of
tiles by input channels with input by output channels. Neither a border nor a channel count costs a copy or a
predicate: rows outside are not read, columns outside are zeros that stay, and the last vector of channels overlaps
the one before it.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308; ours keeps a
strip of tiles in the caches from the first transform to the last, and adds bias, residual and activation there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.transforms import WEIGHTS, backward, forward
from pfir.backends.tvm.kernels.written import along, argument, store, where
from pfir.backends.tvm.tiles import Tile

KERNEL = 3
# A row of this many bytes would put the same place of each tile into the same few lines of a first-level cache.
_ALIASING, _ASIDE = 2048, 16


def pack(weight: np.ndarray, outputs: int, tile: Tile) -> np.ndarray:
    """`[O, I, 3, 3]` -> `[O/b, (m + 2)^2, I, b]` for `outputs` m, zeros where O is no multiple of b."""
    g = WEIGHTS[outputs]
    points = np.einsum("ik,ockl,jl->ijco", g, weight.astype(np.float64), g).reshape(len(g) ** 2, weight.shape[1], -1)
    padded = np.pad(points, ((0, 0), (0, 0), (0, -len(weight) % tile.block)))
    blocks = padded.reshape(*points.shape[:2], -1, tile.block).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(blocks, np.float32)


def winograd(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `outputs` (m), `strip` (rows of tiles that one task takes; it
    divides them), `lanes` of the transforms and `pads` (begin); the data is NHWC."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, "float32"))
        plan = _Plan(spec, tile)
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, spec.out.shape[0] * plan.strips)
        with tasks as task:
            _Task(plan, operands, _lines(operands[0]), result, task // plan.strips, task % plan.strips).write()
    return ib.get()


def _lines(data: Operand) -> Any:
    """The same image with columns and channels as one axis, `[N, H, W * C]`."""
    from tvm.tirx.script import builder as T

    batch, height, width, channels = data.form.memory
    return T.decl_buffer((batch, height, width * channels), "float32", data=data.tensor.data)


@dataclass(frozen=True)
class _Plan:
    """The sizes of a kernel."""

    spec: KernelSpec
    tile: Tile

    @property
    def m(self) -> int:
        return self.spec["outputs"]

    @property
    def side(self) -> int:
        """Rows and columns of input under a tile."""
        return self.m + KERNEL - 1

    @property
    def points(self) -> int:
        return self.side**2

    @property
    def channels(self) -> int:
        return self.spec.operands[0].shape[1]

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-self.spec.out.shape[3] // self.m)

    @property
    def down(self) -> int:
        return -(-self.spec.out.shape[2] // self.m)

    @property
    def strips(self) -> int:
        return self.down // self.spec["strip"]

    @property
    def tiles(self) -> int:
        """Tiles of a strip."""
        return self.spec["strip"] * self.across

    @property
    def rows(self) -> int:
        """Tiles multiplied together."""
        return min(self.tile.rows, self.tiles)

    @property
    def width(self) -> int:
        """Columns of input under a row of tiles."""
        return self.across * self.m + KERNEL - 1

    @property
    def filled(self) -> tuple[int, int]:
        """The columns under a row of tiles that the input fills."""
        left, width = self.spec["pads"][1], self.spec.operands[0].shape[3]
        return max(0, left), min(self.width, left + width)

    @property
    def wide(self) -> int:
        """Lanes of the transforms."""
        return self.spec["lanes"]

    @property
    def depth(self) -> int:
        """Channels of a transformed tile; fewer than a vector are rounded up to a power of two."""
        return self.channels if self.channels >= self.wide else 1 << (self.channels - 1).bit_length()

    @property
    def line(self) -> int:
        """Values of a line of input under a row of tiles, and what the last vector reads beyond it."""
        return self.width * self.channels + self.depth - self.channels

    @property
    def row(self) -> int:
        """Values from one transformed tile to the next."""
        values = self.points * self.depth
        return values + (_ASIDE if values * 4 % _ALIASING == 0 else 0)


@dataclass(frozen=True)
class _Task:
    """The code of one strip of tiles of one image."""

    plan: _Plan
    operands: list[Operand]
    image: Any
    result: Any
    batch: Any
    strip: Any

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        plan, block = self.plan, self.plan.tile.block
        lines = T.alloc_buffer((plan.side, plan.line), "float32")
        data = T.alloc_buffer((plan.tiles * plan.row,), "float32")
        products = T.alloc_buffer((plan.rows, plan.points * block), "float32")
        self._clear_sides(lines)
        with T.serial(0, plan.spec["strip"]) as row:
            self._transform_columns(lines, self.strip * plan.spec["strip"] + row)
            self._transform_rows(lines, data, row)
        whole, rest = divmod(plan.spec.out.shape[1], block)
        with T.serial(0, whole) as index:
            self._block(data, products, index, block)
        if rest:
            self._block(data, products, whole, rest)

    def _clear_sides(self, lines: Any) -> None:
        """Zeros in the columns that no column of the input ever fills."""
        from tvm.tirx.script import builder as T

        plan, (begin, end) = self.plan, self.plan.filled
        for first, last in ((0, begin * plan.channels), (end * plan.channels, plan.line)):
            if first < last:
                with T.serial(0, plan.side) as i:
                    along(last - first, plan.wide, lambda at, lanes, first=first, i=i: store(
                        lines, lanes, lambda e: (const(0), [i, first + at + e])))  # fmt: skip

    def _transform_columns(self, lines: Any, row: Any) -> None:
        """Points down each column of the input under a row of tiles, columns and channels as one axis."""
        from tvm.tirx.script import builder as T

        plan, (begin, end) = self.plan, self.plan.filled

        def points(at: Any, lanes: int) -> None:
            cells = T.alloc_buffer((plan.side, lanes), "float32", scope="local")
            for i in range(plan.side):
                store(cells, lanes, lambda e, i=i: (self._pixel(row, i, at + e), [i, e]))
            store(lines, lanes, *(
                lambda e, i=i: (forward(plan.m, [cells[j, e] for j in range(plan.side)])[i],
                                [i, begin * plan.channels + at + e])
                for i in range(plan.side)
            ))  # fmt: skip

        along((end - begin) * plan.channels, plan.wide, points)

    def _pixel(self, row: Any, i: int, at: Any) -> Any:
        """Value `at` of the input line `i` below the first one of a row of tiles; zero above and below the image."""
        from tvm import tirx

        plan, (top, left), height = self.plan, self.plan.spec["pads"], self.plan.spec.operands[0].shape[2]
        least = i - top
        most, y, at = least + (plan.down - 1) * plan.m, row * plan.m + least, at + max(0, -left) * plan.channels
        if least >= 0 and most < height:
            return self.image[self.batch, y, at]
        # A Select would read what it drops: TVM takes its condition for granted in the index, and so undoes any clamp.
        return tirx.if_then_else(tirx.all(y >= 0, y < height), self.image[self.batch, y, at], const(0))

    def _transform_rows(self, lines: Any, data: Any, row: Any) -> None:
        """Points along each line of each tile."""
        from tvm.tirx.script import builder as T

        plan = self.plan

        def points(x: Any, c: Any, lanes: int) -> None:
            with T.unroll(0, plan.side) as i:
                cells = T.alloc_buffer((plan.side, lanes), "float32", scope="local")
                for j in range(plan.side):
                    store(cells, lanes, lambda e, j=j: (lines[i, (x * plan.m + j) * plan.channels + c + e], [j, e]))
                start = (row * plan.across + x) * plan.row + i * plan.side * plan.depth + c
                store(data, lanes, *(
                    lambda e, j=j: (forward(plan.m, [cells[k, e] for k in range(plan.side)])[j],
                                    [start + j * plan.depth + e])
                    for j in range(plan.side)
                ))  # fmt: skip

        with T.serial(0, plan.across) as x:
            along(plan.depth, plan.wide, lambda c, lanes: points(x, c, lanes))

    def _block(self, data: Any, products: Any, index: Any, channels: int) -> None:
        """One block of output channels, of which `channels` exist: products and results, some tiles at a time."""
        from tvm.tirx.script import builder as T

        whole, rest = divmod(self.plan.tiles, self.plan.rows)
        with T.serial(0, whole) as group:
            self._products(data, products, index, channels, group * self.plan.rows, self.plan.rows)
            self._results(products, index, channels, group * self.plan.rows, self.plan.rows)
        if rest:
            self._products(data, products, index, channels, whole * self.plan.rows, rest)
            self._results(products, index, channels, whole * self.plan.rows, rest)

    def _products(self, data: Any, products: Any, index: Any, channels: int, first: Any, rows: int) -> None:
        """`[rows, I] x [I, b]` at each point."""
        from tvm.tirx.script import builder as T

        plan, tile, weight = self.plan, self.plan.tile, self.operands[1]
        vectors, lanes = -(-channels // tile.lanes), tile.lanes
        with T.serial(0, plan.points) as p:
            sums = T.alloc_buffer((rows, vectors, lanes), "float32", scope="local")
            _tile(rows, vectors, lambda i, j: store(sums, lanes, lambda e: (const(0), [i, j, e])))
            with T.serial(0, plan.channels // tile.unroll) as outer, T.unroll(0, tile.unroll) as inner:
                k = outer * tile.unroll + inner
                _tile(rows, vectors, lambda i, j: store(sums, lanes, lambda e: (
                    sums[i, j, e] + data[(first + i) * plan.row + p * plan.depth + k]
                    * weight(index, p, k, j * lanes + e), [i, j, e])))  # fmt: skip
            _tile(rows, vectors, lambda i, j: store(products, lanes, lambda e: (
                sums[i, j, e], [i, p * tile.block + j * lanes + e])))  # fmt: skip

    def _results(self, products: Any, index: Any, channels: int, first: Any, rows: int) -> None:
        """Tiles of the result, with the steps behind the convolution."""
        from tvm.tirx.script import builder as T

        with T.serial(0, rows) as i:
            along(channels, self.plan.wide, lambda o, lanes: self._result(
                products, i, first + i, index * self.plan.tile.block, o, lanes))  # fmt: skip

    def _result(self, products: Any, i: Any, place: Any, block: Any, o: Any, lanes: int) -> None:
        """One tile of the result, `lanes` channels from `o` in the block."""
        from tvm.tirx.script import builder as T

        plan = self.plan
        lines = T.alloc_buffer((plan.m, plan.side, lanes), "float32", scope="local")
        cells = T.alloc_buffer((plan.m, plan.m, lanes), "float32", scope="local")
        for x in range(plan.side):
            store(lines, lanes, *(
                lambda e, x=x, y=y: (backward(plan.m, [
                    products[i, (k * plan.side + x) * plan.tile.block + o + e] for k in range(plan.side)
                ])[y], [y, x, e])
                for y in range(plan.m)
            ))  # fmt: skip
        for y in range(plan.m):
            store(cells, lanes, *(
                lambda e, x=x, y=y: (backward(plan.m, [lines[y, k, e] for k in range(plan.side)])[x], [y, x, e])
                for x in range(plan.m)
            ))  # fmt: skip
        top = (self.strip * plan.spec["strip"] + place // plan.across) * plan.m
        self._write_tile(cells, top, place % plan.across * plan.m, block + o, lanes)

    def _write_tile(self, cells: Any, top: Any, left: Any, o: Any, lanes: int) -> None:
        plan, (_, _, height, width) = self.plan, self.plan.spec.out.shape
        for y in range(plan.m):
            with where(top + y < height, 0 < height % plan.m <= y):
                for x in range(plan.m):
                    with where(left + x < width, 0 < width % plan.m <= x):
                        store(self.result, lanes, lambda e, x=x, y=y: (
                            tail(plan.spec, self.operands, (self.batch, o + e, top + y, left + x), cells[y, x, e]),
                            [self.batch, top + y, left + x, o + e]))  # fmt: skip


def _tile(rows: int, vectors: int, body: Callable[[Any, Any], None]) -> None:
    """Write `body(row, vector)` over a register tile."""
    from tvm.tirx.script import builder as T

    with T.unroll(0, rows) as i, T.unroll(0, vectors) as j:
        body(i, j)
