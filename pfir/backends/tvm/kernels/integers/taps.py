"""The products of a tile of an integer convolution: those of the values under each tap of its kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.axis import Stretches
from pfir.backends.tvm.kernels.integers.groups import values_of
from pfir.backends.tvm.kernels.integers.sums import Run, Sums
from pfir.backends.tvm.kernels.integers.tile import RegisterTile
from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS


@dataclass(frozen=True)
class TapsTile(RegisterTile):
    """The statements of one tile.

    Args:
        taps: Those of the kernel's columns that meet the image.
    """

    taps: Stretches

    def multiply(self, sums: Sums) -> None:
        """Add the products under each row of the kernel that meets the image."""
        from tvm.tirx.script import builder as T

        first, last = self.layer.lines(self.place.y)
        if self.taps:
            with T.serial(first, last) as ky:
                for tap, count, who in self.taps:
                    self._stretch(ky, tap, count, who, sums)

    @property
    def _whole(self) -> int:
        """Values that are multiplied in one step."""
        dot, together = self.layer.spec["dot"], self.layer.spec["together"]
        return together * PAIR_VECTORS[dot].chained if dot in PAIR_VECTORS else together

    def _stretch(self, ky: Any, tap: int, count: int, who: tuple[int, ...], sums: Sums) -> None:
        """Add the values under these taps of a row of the kernel: those of all taps where they lie side by side in
        whole groups, else those of one tap after the other."""
        from tvm.tirx.script import builder as T

        layer, spec, inner, together = self.layer, self.layer.spec, self.layer.inner, self.layer.spec["together"]
        beside = layer.one_run or (inner == layer.step and inner % self._whole == 0)
        row = self.place.y * spec["strides"][0] + ky * spec["dilations"][0] - layer.rows.pad
        start = self.place.x * layer.stride - layer.left + self.place.group * inner
        packed = together * sum(self.block.lanes) * len(values_of(layer.runs[1], together))
        with T.serial(0, 1 if beside else count) as kx:
            done = ky if layer.one_run else ky * spec["kernel"][1] + tap + kx
            weights = self.place.weights + done * packed
            length = inner * (count if beside else 1)
            begin = start + (tap + kx) * layer.step
            self.add(Run(self.place.batch, row, begin, layer.stride, weights, length, who), sums)
