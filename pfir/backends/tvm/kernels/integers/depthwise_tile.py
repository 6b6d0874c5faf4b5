"""One register tile of a depthwise convolution over integers: some positions of a line by a block of channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pfir.backends.tvm.kernels.axis import Axis, Taps
from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.integers.depthwise_taps import TapGroup, groups_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.results import write_vector
from pfir.backends.tvm.kernels.integers.tap_products import TapProducts, products_by, vector
from pfir.backends.tvm.lowering.form import KernelSpec


@dataclass(frozen=True)
class Depthwise:
    """A kernel's sizes, and what it reads and writes.

    Args:
        image: The data as one line, `[N * H * W * C]`.
    """

    spec: KernelSpec
    operands: list[Operand]
    image: Any
    result: Any

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Rows, and columns."""
        (_, _, *data), (_, _, *out) = self.spec.operands[0].shape, self.spec.out.shape
        said = (self.spec[name] for name in ("kernel", "strides", "dilations", "pads"))
        height, width = zip(data, out, *said, strict=True)
        return Axis(*height), Axis(*width)

    @cached_property
    def borders(self) -> tuple[Border, Border]:
        """The classes of rows, and of columns."""
        rows, columns = (Border(a.size, a.out, a.kernel, a.stride, a.step, a.pad) for a in self.axes)
        return rows, columns

    @cached_property
    def products(self) -> TapProducts:
        return products_by(self.spec["dot"], self.spec.operands[0].dtype)

    @cached_property
    def groups(self) -> list[TapGroup]:
        return groups_of(self.spec["kernel"], self.products.together)

    @property
    def channels(self) -> int:
        return self.spec.out.shape[1]


@dataclass(frozen=True)
class Line:
    """A line of the result, for a block of channels.

    Args:
        lanes: Channels of the block.
        weights: Where its packed weights begin.
        starts: Where the first values of its sums begin, those of the first class of columns.
    """

    batch: Any
    y: Any
    channel: Any
    lanes: int
    weights: Any
    starts: Any


class ColumnTile:
    """Writes the statements of a tile; each column is loaded, and prepared, once for all outputs that read it.

    Args:
        x: The first position.
        first: The first position of the first tile that is alike.
        taps: For each position, the columns of the kernel that meet the image.
    """

    def __init__(self, kernel: Depthwise, line: Line, x: Any, first: int, taps: Taps) -> None:
        self.kernel, self.line, self.x, self.first, self.taps = kernel, line, x, first, taps
        self.rows, self.columns = kernel.axes
        self.inside = {self._column(i, tap) for i, met in enumerate(taps) for tap in met}
        self.loaded: dict[tuple[int, int], Any] = {}
        self.prepared: dict[tuple[tuple[int, int] | None, ...], list[Any]] = {}

    def write(self) -> None:
        for i in range(len(self.taps)):
            sums = self._sums(i)
            at = self.line.batch, self.line.channel, self.line.y, self.x + i
            write_vector(self.kernel.spec, self.kernel.operands, self.kernel.result, at, self.line.lanes, sums)

    def _sums(self, i: int) -> Any:
        """The sums of a position, as a function of the lane."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        products, weights, lanes = self.kernel.products, self.kernel.operands[1].tensor, self.line.lanes
        widths, sums = products.widths(lanes), self._first(i)
        for n, group in enumerate(self.kernel.groups):
            if any(tap in self.taps[i] for _, tap in group.taps):
                at = self.line.weights + n * lanes * products.together
                sums = [named(one) for one in products.add(sums, self._values(i, group), weights, at)]
        total = T.alloc_buffer((lanes,), "int32", scope="local")
        for j, width in enumerate(widths):
            T.buffer_store(total, sums[j], [tirx.Ramp(sum(widths[:j]), 1, width)])
        return lambda e: total[e]

    def _first(self, i: int) -> list[Any]:
        """What sums start from: the bias, and what the zero point adds."""
        at, found = self.line.starts + self.kernel.borders[1].of(self.first + i) * self.kernel.channels, []
        for width in self.kernel.products.widths(self.line.lanes):
            found.append(named(vector(self.kernel.operands[2].tensor, at, width)))
            at = at + width
        return found

    def _values(self, i: int, group: TapGroup) -> list[Any]:
        """The values under a group of taps of a position, ready to be multiplied."""
        places = tuple(self._place(i, *tap) for tap in group.taps)
        if places not in self.prepared:
            parts = [self._loaded(place) for place in places]
            found = self.kernel.products.values(parts, self.line.lanes)
            self.prepared[places] = [named(value) for value in found]
        return self.prepared[places]

    def _place(self, i: int, row: int, tap: int) -> tuple[int, int] | None:
        """The row of the kernel and the column that a tap reads; None where it is outside the image. Rows behind the
        kernel's have zeros for weights: any will do."""
        column = self._column(i, tap)
        return (min(row, self.rows.kernel - 1), column) if column in self.inside else None

    def _column(self, i: int, tap: int) -> int:
        """The column that a tap of a position reads, counted from the first one under the tile."""
        return i * self.columns.stride + tap * self.columns.step

    def _loaded(self, place: tuple[int, int] | None) -> Any:
        """The values of a column in a row; zeros outside the image."""
        from tvm import tirx

        lanes = self.line.lanes
        if place is None:
            return tirx.Broadcast(tirx.const(0, self.kernel.image.dtype), lanes)
        if place not in self.loaded:
            row, column = place
            height, width = self.rows.size, self.columns.size
            y = tirx.max(0, tirx.min(height - 1, self.rows.at(self.line.y, row)))
            x = self.columns.at(self.x, 0) + column
            at = ((self.line.batch * height + y) * width + x) * self.kernel.channels + self.line.channel
            self.loaded[place] = named(vector(self.kernel.image, at, lanes))
        return self.loaded[place]


def named(value: Any) -> Any:
    """A variable that holds a value from here on."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    name = tirx.Var("v", str(value.ty))
    T.add_to_parent(tirx.Bind(name, value))
    return name
