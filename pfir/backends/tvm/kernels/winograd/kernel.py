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

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.winograd.inverse import Results
from pfir.backends.tvm.kernels.winograd.plan import Plan
from pfir.backends.tvm.kernels.winograd.products import Products
from pfir.backends.tvm.kernels.winograd.transforms import forward
from pfir.backends.tvm.kernels.written import along, argument, fence, store
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import ProductTile


def winograd(spec: KernelSpec, tile: ProductTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `outputs` (m), `strip` (rows of tiles that one task takes; it
    divides them), `lanes` of the transforms, `pads` (begin), and the core's `habits`; the data is NHWC."""
    return over_tiles(Plan(spec, tile), Products, Results)


def over_tiles(plan: Plan, products: type[Products], results: type[Results]) -> Any:
    """The function of a plan, whose middle and last part are these."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        spec, parts = plan.spec, (products, results)
        operands = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        tasks = (T.parallel if plan.tile.threads > 1 else T.serial)(0, spec.out.shape[0] * plan.strips)
        with tasks as task:
            _Task(plan, parts, operands, _lines(operands[0]), result, task // plan.strips, task % plan.strips).write()
    return ib.get()


def _lines(data: Operand) -> Any:
    """The same image with columns and channels as one axis, `[N, H, W * C]`."""
    from tvm.tirx.script import builder as T

    batch, height, width, channels = data.form.memory
    return T.decl_buffer((batch, height, width * channels), data.form.dtype, data=data.tensor.data)


@dataclass(frozen=True)
class _Task:
    """The code of one strip of tiles of one image."""

    plan: Plan
    parts: tuple[type[Products], type[Results]]
    operands: list[Operand]
    image: Any
    result: Any
    batch: Any
    strip: Any

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        plan, block = self.plan, self.plan.tile.block
        lines = T.alloc_buffer((plan.side, plan.line), plan.dtype)
        data = T.alloc_buffer((plan.tiles * plan.row,), plan.dtype)
        products = T.alloc_buffer((plan.rows * plan.points * block,), plan.sums)
        self._clear_sides(lines)
        with T.serial(0, plan.spec["strip"]) as row:
            self._transform_columns(lines, self.strip * plan.spec["strip"] + row)
            self._transform_rows(lines, data, row)
        results = self.parts[1](plan, self.operands, products, self.result, self.batch, self.strip)
        whole, rest = divmod(plan.spec.out.shape[1], block)
        with T.serial(0, whole) as index:
            self._block(data, products, results, index, block)
        if rest:
            self._block(data, products, results, whole, rest)

    def _clear_sides(self, lines: Any) -> None:
        """The border's points in the columns that no column of the input ever fills."""
        from tvm.tirx.script import builder as T

        plan, (begin, end) = self.plan, self.plan.filled
        for first, last in ((0, begin * plan.channels), (end * plan.channels, plan.line)):
            if first < last:
                with T.serial(0, plan.side) as i:
                    along(
                        last - first,
                        plan.wide,
                        lambda at, lanes, first=first, i=i: store(
                            lines, lanes, lambda e: (plan.outside(i), [i, first + at + e])
                        ),
                    )

    def _transform_columns(self, lines: Any, row: Any) -> None:
        """Points down each column of the input under a row of tiles, columns and channels as one axis."""
        from tvm.tirx.script import builder as T

        plan, (begin, end) = self.plan, self.plan.filled

        def points(at: Any, lanes: int) -> None:
            cells = T.alloc_buffer((plan.side, lanes), plan.dtype, scope="local")
            for i in range(plan.side):
                store(cells, lanes, lambda e, i=i: (self._pixel(row, i, at + e), [i, e]))
            store(
                lines,
                lanes,
                *(
                    lambda e, i=i: (
                        forward(plan.m, [cells[j, e] for j in range(plan.side)])[i],
                        [i, begin * plan.channels + at + e],
                    )
                    for i in range(plan.side)
                ),
            )

        along((end - begin) * plan.channels, plan.wide, points)

    def _pixel(self, row: Any, i: int, at: Any) -> Any:
        """Value `at` of the input line `i` below the first one of a row of tiles; the border outside the image."""
        from tvm import tirx

        plan, (top, left), height = self.plan, self.plan.spec["pads"], self.plan.spec.operands[0].shape[2]
        least = i - top
        most, y, at = least + (plan.down - 1) * plan.m, row * plan.m + least, at + max(0, -left) * plan.channels
        if least >= 0 and most < height:
            return plan.value(self.image[self.batch, y, at])
        # A Select would read what it drops: TVM takes its condition for granted in the index, and so undoes any clamp.
        inside, pixel = tirx.all(y >= 0, y < height), plan.value(self.image[self.batch, y, at])
        return tirx.if_then_else(inside, pixel, plan.border)

    def _transform_rows(self, lines: Any, data: Any, row: Any) -> None:
        """Points along each line of each tile."""
        from tvm.tirx.script import builder as T

        plan = self.plan

        def points(x: Any, c: Any, lanes: int) -> None:
            with T.unroll(0, plan.side) as i:
                cells = T.alloc_buffer((plan.side, lanes), plan.dtype, scope="local")
                for j in range(plan.side):
                    store(cells, lanes, lambda e, j=j: (lines[i, (x * plan.m + j) * plan.channels + c + e], [j, e]))
                start = (row * plan.across + x) * plan.row + i * plan.side * plan.depth + c
                store(
                    data,
                    lanes,
                    *(
                        lambda e, j=j: (
                            forward(plan.m, [cells[k, e] for k in range(plan.side)])[j],
                            [start + j * plan.depth + e],
                        )
                        for j in range(plan.side)
                    ),
                )
                fence(plan.spec["fenced"])

        with T.serial(0, plan.across) as x:
            along(plan.depth, plan.wide, lambda c, lanes: points(x, c, lanes))

    def _block(self, data: Any, products: Any, results: Results, index: Any, channels: int) -> None:
        """One block of output channels, of which `channels` exist: products and results, some tiles at a time."""
        from tvm.tirx.script import builder as T

        multiply = self.parts[0](self.plan, self.operands[1], data, products, index, channels)

        def some(first: Any, rows: int) -> None:
            multiply.write(first, rows)
            results.write(index * self.plan.tile.block, channels, first, rows)

        whole, rest = divmod(self.plan.tiles, self.plan.rows)
        with T.serial(0, whole) as group:
            some(group * self.plan.rows, self.plan.rows)
        if rest:
            some(whole * self.plan.rows, rest)
