"""Maximum and average pools over channels-last activations, without a copy of their input.

Windows are taken apart: under a tile of output columns the rows of each input column are combined first, and then the
columns, so that neighbouring windows share the first. What the border cuts off is left out of the code along a row, and
out of the loop over rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pfir.backends.tvm.kernels.axis import Axis, Taps
from pfir.backends.tvm.kernels.common import as_float, tail
from pfir.backends.tvm.kernels.integers.others.means import TERMS
from pfir.backends.tvm.kernels.written import along, argument, store
from pfir.backends.tvm.lowering.expressions import const, maximum
from pfir.backends.tvm.lowering.form import KernelSpec, Quantization
from pfir.backends.tvm.schedule.tile_kinds import ChannelTile
from pfir.target import HALF, SINGLE

LOWEST = {HALF: -65504.0, SINGLE: -3.4028234663852886e38, "int8": -128, "uint8": 0}
MOST_COLUMNS = 14  # of the input, each in a register


def pool(spec: KernelSpec, tile: ChannelTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `kind` (max, average), `kernel`, `strides`, `dilations`, `pads`
    (begin, end), `ceil` and `counts_pads`."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    batch, channels, height, _ = spec.out.shape
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.out.dtype)
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, batch * height)
        with T.sblock("root"), tasks as task:
            line = _Line(spec, operands, out, task // height, task % height)
            for run in _axis(spec, 1).runs(_columns(spec, tile)):
                under = _under(spec, run.taps)
                with T.serial(0, run.count) as i:
                    x = run.start(i)
                    along(
                        channels,
                        tile.lanes,
                        lambda channel, lanes, x=x, under=under: line.tile(x, under, channel, lanes),
                    )
    return ib.get()


def type_of_sums(spec: KernelSpec) -> str:
    """The narrowest type that holds the sum of a window of integers."""
    data = spec.operands[0].dtype
    if spec["kernel"][0] * spec["kernel"][1] > TERMS[data]:
        return "int32"
    return "int16" if data == "int8" else "uint16"


# For each output column of a tile, which input columns its window holds: how far from where the first window begins.
Under = tuple[tuple[int, ...], ...]


def _under(spec: KernelSpec, taps: Taps) -> Under:
    stride, step = spec["strides"][1], spec["dilations"][1]
    return tuple(tuple(i * stride + k * step for k in those) for i, those in enumerate(taps))


def _axis(spec: KernelSpec, i: int) -> Axis:
    """Rows or columns."""
    sizes = spec.operands[0].shape[2 + i], spec.out.shape[2 + i]
    return Axis(*sizes, *(spec[name][i] for name in ("kernel", "strides", "dilations", "pads")))


def _columns(spec: KernelSpec, tile: ChannelTile) -> int:
    """Output columns of a tile."""
    return min(tile.rows, max(1, (MOST_COLUMNS - _reach(spec)) // spec["strides"][1] + 1))


def _reach(spec: KernelSpec) -> int:
    """Input columns from the first to the last of a window."""
    return (spec["kernel"][1] - 1) * spec["dilations"][1] + 1


@dataclass(frozen=True)
class _Line:
    """A row of the result."""

    spec: KernelSpec
    operands: list[Any]
    out: Any
    batch: Any
    y: Any

    def tile(self, x: Any, under: Under, channel: Any, lanes: int) -> None:
        """The outputs from column `x` on, for `lanes` channels."""
        from tvm.tirx.script import builder as T

        dtype, start = self._first
        places = {at: i for i, at in enumerate(sorted({at for window in under for at in window}))}
        columns = T.alloc_buffer((max(1, len(places)), lanes), dtype, scope="local")
        for i in places.values():
            store(columns, lanes, lambda e, i=i: (const(start, dtype), [i, e]))
        first, last = self._rows()
        begin = x * self.spec["strides"][1] - self.spec["pads"][1]
        with T.serial(first, last) as ky:
            row = self.y * self.spec["strides"][0] + ky * self.spec["dilations"][0] - self.spec["pads"][0]
            for at, i in places.items():
                store(
                    columns,
                    lanes,
                    lambda e, at=at, i=i, row=row: (
                        self._with(columns[i, e], self._pixel(row, begin + at, channel + e)),
                        [i, e],
                    ),
                )
        for i, window in enumerate(under):
            cells = [places[at] for at in window]
            store(
                self.out.tensor,
                lanes,
                lambda e, i=i, cells=cells: (
                    self._result(
                        x + i,
                        channel + e,
                        [columns[cell, e] for cell in cells] or [const(start, dtype)],
                        (last - first) * len(cells),
                    ),
                    [self.batch, self.y, x + i, channel + e],
                ),
            )

    @property
    def average(self) -> bool:
        return self.spec["kind"] == "average"

    @property
    def _first(self) -> tuple[str, float]:
        """The type in which values are combined, and what they are combined with first."""
        if not self.average:
            return self.spec.dtype, LOWEST[self.spec.dtype]
        return (SINGLE, 0.0) if self._integers is None else (type_of_sums(self.spec), 0)

    @property
    def _integers(self) -> Quantization | None:
        """What the integers of an average stand for, where those are added; None where floats are."""
        return self.spec.operands[0].quantization if self.average else None

    def _rows(self) -> tuple[Any, Any]:
        """The first row of the kernel that meets the image, and the one behind the last."""
        from tvm import tirx

        first, last = _axis(self.spec, 0).span(self.y)
        return first, tirx.max(first, last)

    def _pixel(self, y: Any, x: Any, channel: Any) -> Any:
        if self._integers is not None:
            form = replace(self.operands[0].form, quantization=None)
            return replace(self.operands[0], form=form)(self.batch, channel, y, x).astype(self._first[0])
        value = self.operands[0](self.batch, channel, y, x)
        return as_float(value, SINGLE) if self.average else value

    def _with(self, total: Any, value: Any) -> Any:
        return total + value if self.average else maximum(total, value)

    def _result(self, x: Any, channel: Any, columns: list[Any], cells: Any) -> Any:
        value = columns[0]
        for column in columns[1:]:
            value = self._with(value, column)
        if self._integers is not None:
            steps = value.astype("int32") - self._integers.zero_point * cells
            value = steps.astype(SINGLE) * (const(self._integers.scale) / self._count(x, cells))
        elif self.average:
            value = value / self._count(x, cells)
        return tail(self.spec, self.operands, (self.batch, channel, self.y, x), value)

    def _count(self, x: Any, cells: Any) -> Any:
        """How many cells of the window at column `x`, of which so many are inside the image, an average counts."""
        from tvm import tirx

        if not self.spec["counts_pads"]:
            return tirx.max(cells, 1).astype(SINGLE)  # rounding up may put a window wholly outside: 0 there
        if not self.spec["ceil"]:
            return const(self.spec["kernel"][0] * self.spec["kernel"][1])
        return tirx.max(self._counted(0, self.y) * self._counted(1, x), 1).astype(SINGLE)

    def _counted(self, axis: int, position: Any) -> Any:
        """The cells along an axis that are inside the image and its pads."""
        from tvm import tirx

        kernel, stride, step = (self.spec[name][axis] for name in ("kernel", "strides", "dilations"))
        begin, end = self.spec["pads"][axis], self.spec["pads"][2 + axis]
        start = position * stride - begin
        size = self.spec.operands[0].shape[2 + axis] + end
        return tirx.max(0, tirx.min(kernel, (size - start + step - 1) // step))
