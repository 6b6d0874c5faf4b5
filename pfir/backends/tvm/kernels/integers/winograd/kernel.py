"""Winograd convolutions over integers of eight bits, channels last: 3x3 kernels of stride 1.

As the float ones (`kernels/winograd`), but that points of the image and of the weights are whole numbers of 16 bits,
their products and sums of 32. Sums equal those of a direct convolution.

Source: as of the float ones; arithmetic modulo 2^32 is ours. ncnn (conv3x3s1_winograd43_int8) has the factor 24 of the
weights' last point as 6 there and 4 in the result, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.integers.winograd.products import IntegerProducts
from pfir.backends.tvm.kernels.integers.winograd.results import IntegerResults
from pfir.backends.tvm.kernels.winograd.kernel import over_tiles
from pfir.backends.tvm.kernels.winograd.plan import Plan
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile

# Of a column of equal values all points are zero but this one, by tiles of so many rows that many times the value.
_LEVEL, _TIMES = 1, {2: 2, 4: -6}


def winograd_int8(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A kernel as a function of TensorIR.

    Operands: the data, packed weights, and `tiled_starts`; then those of the steps. Attributes: those of `winograd`,
    what a border is filled with (`zero`), the instruction that multiplies (`dot`), and what rounds (`by`).
    """
    return over_tiles(_IntegerPlan(spec, tile), IntegerProducts, IntegerResults)


@dataclass(frozen=True)
class _IntegerPlan(Plan):
    """The sizes of a kernel over integers."""

    @property
    def dtype(self) -> str:
        return "int16"

    @property
    def sums(self) -> str:
        return "int32"

    @property
    def border(self) -> Any:
        return const(self.spec["zero"], self.dtype)

    def outside(self, line: Any) -> Any:
        from tvm import tirx

        level = const(_TIMES[self.m] * self.spec["zero"], self.dtype)
        return tirx.Select(line == _LEVEL, level, const(0, self.dtype))

    def value(self, pixel: Any) -> Any:
        return pixel.astype(self.dtype)
