"""The sizes of a direct convolution, and which of its taps meet the image where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from math import prod
from typing import Any

from pfir.backends.tvm.kernels.axis import Axis, Stretches
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.blocks import bordered, one_run
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile


@dataclass(frozen=True)
class Layer:
    """The sizes of a kernel."""

    spec: KernelSpec
    tile: MatrixTile

    @property
    def channels(self) -> int:
        """Output channels of a group."""
        return self.spec.out.shape[1] // self.spec["group"]

    @property
    def across(self) -> int:
        """Channels side by side in the image that is read: a copy has whole groups of those multiplied `together`, but
        where a row of the kernel is one run."""
        channels = self.spec.operands[0].shape[1]
        return -(-channels // self._together) * self._together if self.bordered and not self.one_run else channels

    @property
    def one_run(self) -> bool:
        """Whether the weights of a row of the kernel are packed as those of one run of values."""
        data, group = self.spec.operands[0], self.spec["group"]
        columns, step = self.spec["kernel"][1], self.spec["dilations"][1]
        return group == 1 and one_run(data.order, data.shape[1], columns, step, self._together)

    @property
    def runs(self) -> tuple[int, int]:
        """The runs whose weights are packed one after the other, and the values of each."""
        rows, columns = self.spec["kernel"]
        return (rows, columns * self.inner) if self.one_run else (rows * columns, self.inner)

    @property
    def _together(self) -> int:
        return dict(self.spec.attributes).get("together", 1)

    @property
    def inner(self) -> int:
        """Input channels of a group."""
        return self.across // self.spec["group"]

    @property
    def values(self) -> int:
        """Input values under a position."""
        return prod(self.spec["kernel"]) * self.inner

    @property
    def step(self) -> int:
        """Values from one tap of a row to the next."""
        return self.spec["dilations"][1] * self.across

    @property
    def stride(self) -> int:
        """Values from one position to the next."""
        return self.spec["strides"][1] * self.across

    @property
    def bordered(self) -> bool:
        """Whether a copy of the image with its border is read."""
        return bordered(self.spec.operands[0].order, self.spec.operands[0].shape[1])

    @property
    def rows(self) -> Axis:
        """Those of the image that is read, perhaps of a copy."""
        return self._axis(0)

    @property
    def columns(self) -> Axis:
        """As the rows."""
        return self._axis(1)

    @property
    def left(self) -> int:
        """Values of a row of the border in front of the image."""
        return self.columns.pad * self.across

    def lines(self, y: Any) -> tuple[Any, Any]:
        """The first row of the kernel that meets the image under row `y` of the result, and the one behind the last."""
        from tvm import tirx

        height, out, kernel, stride, step, pad = self.rows
        first = tirx.max(0, (pad - y * stride + step - 1) // step) if pad > 0 else 0
        cut = (out - 1) * stride + (kernel - 1) * step - pad >= height
        last = tirx.min(kernel, (height + pad - y * stride + step - 1) // step) if cut else kernel
        return first, last

    def tiles(self, most: int, unit: int = 1) -> Iterator[tuple[int, int, int, Stretches]]:
        """Runs of equal tiles along a row of the result, of at most so many positions each and all of nearly as many
        units: where a run starts, how many tiles and of how many positions, and their taps."""
        axis = self.columns
        for (rows, taps), run in groupby(axis.balanced(most, unit), lambda tile: (len(tile), axis.stretches(tile))):
            found = list(run)
            yield found[0].start, len(found), rows, taps

    def _axis(self, i: int) -> Axis:
        sizes = self.spec.operands[0].shape[2 + i], self.spec.out.shape[2 + i]
        axis = Axis(*sizes, *(self.spec[name][i] for name in ("kernel", "strides", "dilations", "pads")))
        return axis.copied if self.bordered else axis
