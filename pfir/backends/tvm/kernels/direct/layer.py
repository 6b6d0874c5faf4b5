"""The sizes of a direct convolution, and which of its taps meet the image where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import prod
from typing import Any

from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.blocks import bordered
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile

# Stretches of taps that meet the image for the same positions of a tile: first tap, taps, and those positions.
Taps = tuple[tuple[int, int, tuple[int, ...]], ...]


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
        """Channels side by side in the image that is read: a copy has whole groups of those multiplied `together`."""
        channels, together = self.spec.operands[0].shape[1], dict(self.spec.attributes).get("together", 1)
        return -(-channels // together) * together if self.bordered else channels

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
    def sizes(self) -> tuple[int, int]:
        """Rows and columns of the image that is read: where it is a copy, no more of them than some tap meets."""
        if not self.bordered:
            return self.spec.operands[0].shape[2:]
        (kh, kw), (sh, sw), (dh, dw) = (self.spec[name] for name in ("kernel", "strides", "dilations"))
        down, across = self.spec.out.shape[2:]
        return (down - 1) * sh + (kh - 1) * dh + 1, (across - 1) * sw + (kw - 1) * dw + 1

    @property
    def pads(self) -> tuple[int, int]:
        """Rows and columns of the border that are no part of the image that is read."""
        return (0, 0) if self.bordered else self.spec["pads"]

    @property
    def left(self) -> int:
        """Values of a row of the border in front of the image."""
        return self.pads[1] * self.across

    def lines(self, y: Any) -> tuple[Any, Any]:
        """The first row of the kernel that meets the image under row `y` of the result, and the one behind the last."""
        from tvm import tirx

        (height, _), pad, out = self.sizes, self.pads[0], self.spec.out.shape[2]
        kernel, stride, step = (self.spec[name][0] for name in ("kernel", "strides", "dilations"))
        first = tirx.max(0, (pad - y * stride + step - 1) // step) if pad > 0 else 0
        cut = (out - 1) * stride + (kernel - 1) * step - pad >= height
        last = tirx.min(kernel, (height + pad - y * stride + step - 1) // step) if cut else kernel
        return first, last

    def taps(self, x: int, rows: int) -> Taps:
        """The taps under the `rows` positions from `x` on; a tap that is outside for all of them is left out."""
        (_, width), pad = self.sizes, self.pads[1]
        kernel, stride, step = (self.spec[name][1] for name in ("kernel", "strides", "dilations"))

        def inside(tap: int) -> tuple[int, ...]:
            return tuple(i for i in range(rows) if 0 <= (x + i) * stride + tap * step - pad < width)

        stretches = [(who, list(run)) for who, run in groupby(range(kernel), inside)]
        return tuple((run[0], len(run), who) for who, run in stretches if who)

    def tiles(self, most: int, unit: int = 1) -> Iterator[tuple[int, int, int, Taps]]:
        """Runs of equal tiles along a row of the result, of at most so many positions each: where a run starts, how
        many tiles and of how many positions, and their `taps`."""
        spans = spans_of(self.spec.out.shape[3], most, unit)
        for (rows, taps), run in groupby(spans, lambda span: (span[1], self.taps(*span))):
            found = list(run)
            yield found[0][0], len(found), rows, taps


def spans_of(out: int, most: int, unit: int = 1) -> list[tuple[int, int]]:
    """Where each tile begins and its positions: as few tiles as `most` positions each allow, all of nearly as many
    units, of which the very last may not be whole."""
    rows, more = divmod(-(-out // unit), -(-out // most))
    starts = [unit * (i * rows + min(i, more)) for i in range(-(-out // most))]
    return [(start, end - start) for start, end in pairwise([*starts, out])]
