"""One register tile of a depthwise convolution over integers: some positions of its lines by a block of channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pfir.backends.tvm.kernels.axis import Axis, Taps
from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.integers.depthwise.products import TapProducts, products_by, vectors
from pfir.backends.tvm.kernels.integers.depthwise.reads import Place, Read, Window, reads_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.results import Vector, write_vectors
from pfir.backends.tvm.kernels.written import fence
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
        rows, columns = (Border(axis) for axis in self.axes)
        return rows, columns

    @cached_property
    def products(self) -> TapProducts:
        return products_by(self.spec["dot"], self.spec.operands[0].dtype)

    @cached_property
    def window(self) -> Window:
        """What a tile reads."""
        rows, columns = self.axes
        return Window(rows.kernel, rows.stride, self.spec["lines"], columns, self.products.together)

    @cached_property
    def packed(self) -> int:
        """Packed weights of a channel, for one line and class of rows."""
        return len(self.window.groups) * self.products.together

    @property
    def channels(self) -> int:
        return self.spec.out.shape[1]


@dataclass(frozen=True)
class Lines:
    """Lines of the result one below the other, for a block of channels.

    Args:
        y: The first one.
        lanes: Channels of the block.
        weights: Where each one's packed weights begin.
        starts: Where the first values of each one's sums begin, those of the first class of columns.
    """

    batch: Any
    y: Any
    channel: Any
    lanes: int
    weights: list[Any]
    starts: list[Any]


class ColumnTile:
    """Writes the statements of a tile; each column is loaded, and prepared, once for all positions that read it.

    Args:
        x: The first position.
        first: That of the first of the tiles that are alike.
        taps: For each position, the columns of the kernel that meet the image.
    """

    def __init__(self, kernel: Depthwise, lines: Lines, x: Any, first: int, taps: Taps) -> None:
        self.kernel, self.at, self.x, self.first = kernel, lines, x, first
        self.reads = reads_of(kernel.window, taps)
        self.loaded: dict[Place, Any] = {}
        self.prepared: dict[tuple[Place, ...], list[Any]] = {}

    def write(self) -> None:
        for i, lines in enumerate(self.reads):
            fence(self.kernel.spec["fenced"])
            for line, read in enumerate(lines):
                sums = self._sums(i, line, read)
                at = Vector(self.at.batch, self.at.channel, self.at.y + line, self.x + i, sums)
                write_vectors(self.kernel.spec, self.kernel.operands, self.kernel.result, self.at.lanes, [at])

    def _sums(self, i: int, line: int, read: Read) -> Callable[[Any], Any]:
        """The sums of a position, by lane."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        products, sums = self.kernel.products, self._starts(i, line)
        for n, places in read:
            at = self.at.weights[line] + n * self.at.lanes * products.together
            weights = products.weights(self.kernel.operands[1].tensor, at, self.at.lanes)
            sums = [named(one) for one in products.add(sums, self._values(places), weights)]
        total, widths = T.alloc_buffer((self.at.lanes,), "int32", scope="local"), products.widths(self.at.lanes)
        for j, width in enumerate(widths):
            T.buffer_store(total, sums[j], [tirx.Ramp(sum(widths[:j]), 1, width)])
        return lambda e: total[e]

    def _starts(self, i: int, line: int) -> list[Any]:
        """What sums start from: the bias, and what the zero point adds."""
        at = self.at.starts[line] + self.kernel.borders[1].of(self.first + i) * self.kernel.channels
        found = vectors(self.kernel.operands[2].tensor, at, self.kernel.products.widths(self.at.lanes))
        return [named(value) for value in found]

    def _values(self, places: tuple[Place, ...]) -> list[Any]:
        """The values under a group of taps, ready to be multiplied."""
        if places not in self.prepared:
            found = self.kernel.products.values([self._loaded(place) for place in places], self.at.lanes)
            self.prepared[places] = [named(value) for value in found]
        return self.prepared[places]

    def _loaded(self, place: Place) -> Any:
        """The values of a column in a row; zeros outside the image."""
        from tvm import tirx

        if place is None:
            return tirx.Broadcast(tirx.const(0, self.kernel.image.dtype), self.at.lanes)
        if place not in self.loaded:
            rows, columns = self.kernel.axes
            y = tirx.max(0, tirx.min(rows.size - 1, rows.at(self.at.y, place[0])))
            x = columns.at(self.x, 0) + place[1]
            at = ((self.at.batch * rows.size + y) * columns.size + x) * self.kernel.channels + self.at.channel
            self.loaded[place] = named(self.kernel.products.load(self.kernel.image, at, self.at.lanes))
        return self.loaded[place]


def named(value: Any) -> Any:
    """A variable that holds a value from here on."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    name = tirx.Var("v", str(value.ty))
    T.add_to_parent(tirx.Bind(name, value))
    return name
