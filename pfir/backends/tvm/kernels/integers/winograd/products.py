"""The middle part: at each point a matrix product of tiles by input channels with input by output channels, factors of
16 bits, sums of 32.

A value multiplies four weights from a lane of a register, `smull` and `smlal`; eight values of a tile come together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.integers.winograd.lanes import COUNT, Lanes
from pfir.backends.tvm.kernels.winograd.products import Products
from pfir.backends.tvm.kernels.written import fence

_TOGETHER = 8
# Vectors of sums beside which LLVM may mix the products of two input channels; beside more it spills.
_FULL = 20
_MULTIPLY = {"smull": "llvm.aarch64.neon.smull.v4i32", "vmull": "llvm.arm.neon.vmulls.v4i32"}
_Value = Callable[[int, int], Any]


def mixed(sums: int) -> int:
    """Input channels whose products LLVM may mix beside so many vectors of sums."""
    return 2 if sums <= _FULL else 1


class IntegerProducts(Products):
    """The code that multiplies the transformed tiles of a strip by the weights of one block of channels."""

    def write_point(self, point: Any, start: Any, rows: int) -> None:
        """Write the product at one point, in vectors of four sums."""
        _Point(self, point, start, rows, len(self.plan.vectors(self.channels, rows))).write()


@dataclass(frozen=True)
class _Point:
    """The code of one point, whose values begin at `start`: so many vectors of four sums for each row."""

    products: IntegerProducts
    point: Any
    start: Any
    rows: int
    vectors: int

    def write(self) -> None:
        from tvm import tirx
        from tvm.tirx.script import builder as T

        plan = self.products.plan
        sums = T.alloc_buffer((self.rows, self.vectors, COUNT), plan.sums, scope="local")
        whole, rest = divmod(plan.channels, _TOGETHER)
        # The first round writes its products into the sums, in place of zeros.
        if whole:
            self._steps(sums, 0, range(_TOGETHER), True)
        with T.serial(1, max(1, whole)) as outer:
            self._steps(sums, outer * _TOGETHER, range(_TOGETHER), False)
        if rest and whole:
            self._steps(sums, plan.channels - _TOGETHER, range(_TOGETHER - rest, _TOGETHER), False)
        elif rest:
            self._steps(sums, 0, range(rest), True)
        for i, j in pairs(range(self.rows), range(self.vectors)):
            found = tirx.BufferLoad(sums, [i, j, tirx.Ramp(0, 1, COUNT)])
            place = plan.spot(i, self.point) + j * COUNT
            T.buffer_store(self.products.result, found, [tirx.Ramp(place, 1, COUNT)])

    def _steps(self, sums: Any, start: Any, steps: range, begins: bool) -> None:
        """Multiply these of the eight input channels from `start` on; the sums begin with the first if `begins` says
        so."""
        value, fenced = self._values(self.start + start), self.products.plan.spec["fenced"]
        for k in steps:
            fence(fenced and k % mixed(self.rows * self.vectors) == 0, whole=True)
            self._step(sums, start + k, k, value, begins and k == 0)

    def _values(self, start: Any) -> _Value:
        """Value `k` of the eight of a row, or as many as there are, four times side by side, as `(row, k)`."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        plan = self.products.plan
        count = min(_TOGETHER, plan.depth)
        cells = T.alloc_buffer((self.rows, count), plan.dtype, scope="local")
        for i in range(self.rows):
            some = tirx.BufferLoad(self.products.data, [tirx.Ramp(start + i * plan.row, 1, count)])
            T.buffer_store(cells, some, [i, tirx.Ramp(0, 1, count)])

        def value(i: int, k: int) -> Any:
            return tirx.Shuffle([tirx.BufferLoad(cells, [i, tirx.Ramp(0, 1, count)])], [k] * COUNT)

        return value

    def _step(self, sums: Any, channel: Any, k: int, value: _Value, begins: bool) -> None:
        """Multiply one input channel, the `k`th of those that come together."""
        from tvm import tirx

        products = self.products
        for first in range(0, self.vectors, 2):
            count = min(2, self.vectors - first)
            lanes = tirx.Ramp(first * COUNT, 1, count * COUNT)
            found = tirx.BufferLoad(products.weights.tensor, [products.block, self.point, channel, lanes])
            for part, i in pairs(range(count), range(self.rows)):
                weights = tirx.Shuffle([found], list(range(part * COUNT, (part + 1) * COUNT)))
                self._add(sums, i, first + part, weights, value(i, k), begins)

    def _add(self, sums: Any, i: int, j: int, weights: Any, values: Any, begins: bool) -> None:
        """Add the products of four weights to a vector of sums."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        place, dot = [i, j, tirx.Ramp(0, 1, COUNT)], self.products.plan.spec["dot"]
        added = tirx.call_llvm_pure_intrin("int32x4", _MULTIPLY[dot], weights, values)
        if not begins:
            total = Lanes(tirx.BufferLoad(sums, place), self.products.plan.spec["fenced"])
            added = (total + Lanes(added, total.ordered)).vector
        T.buffer_store(sums, added, place)
