"""The middle part of a Winograd convolution: at each point a matrix product of tiles by input channels with input by
output channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.winograd.plan import Plan, Vector
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, fence, store
from pfir.backends.tvm.lowering.expressions import const


@dataclass(frozen=True)
class Products:
    """The code that multiplies the transformed tiles `data` of a strip by the weights of one block of `channels`, into
    `result`."""

    plan: Plan
    weights: Operand
    data: Any
    result: Any
    block: Any
    channels: int

    def write(self, first: Any, rows: int) -> None:
        """Write the product `[rows, I] x [I, b]` at each point, of the tiles from `first` on."""
        from tvm.tirx.script import builder as T

        with T.serial(0, self.plan.points) as point:
            self.write_point(point, first * self.plan.row + point * self.plan.depth, rows)

    def write_point(self, point: Any, start: Any, rows: int) -> None:
        """Write the product at one point, whose values begin at `start`."""
        _Point(self, point, start, rows, self.plan.vectors(self.channels, rows)).write()


@dataclass(frozen=True)
class _Point:
    """The code of one point, whose values begin at `start`; each vector of channels has its sums for all rows."""

    products: Products
    point: Any
    start: Any
    rows: int
    vectors: tuple[Vector, ...]

    @property
    def plan(self) -> Plan:
        return self.products.plan

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        plan, unroll, by_lane = self.plan, self.plan.tile.unroll, self.plan.spec["by_lane"]
        sums = [T.alloc_buffer((self.rows // v.rows, v.lanes), plan.dtype, scope="local") for v in self.vectors]
        whole, rest = divmod(plan.channels, unroll)
        if not by_lane:
            self._each(sums, lambda i, j, e: const(0, plan.dtype))
        # Where values multiply from a lane, the first round writes its products into the sums, in place of zeros.
        begun = int(by_lane and whole > 0)
        if begun:
            self._steps(sums, 0, unroll, True)
        with T.serial(begun, whole) as outer:
            self._steps(sums, outer * unroll, unroll)
        if rest:
            self._steps(sums, whole * unroll, rest, by_lane and whole == 0)
        for i, (j, v) in pairs(range(self.rows), enumerate(self.vectors)):
            part = i % v.rows * v.width
            store(
                self.products.result,
                v.width,
                lambda e, i=i, j=j, v=v, part=part: (
                    sums[j][i // v.rows, part + e],
                    [plan.spot(i, self.point) + v.at + e],
                ),
            )

    def _each(self, sums: list[Any], body: Callable[[int, int, Any], Any]) -> None:
        """Write a value for every lane `e` of the sums of row `i`, or of as many from there on as vector `j` has."""
        for i, (j, v) in pairs(range(self.rows), enumerate(self.vectors)):
            if i % v.rows == 0:
                store(sums[j], v.lanes, lambda e, i=i, j=j, v=v: (body(i, j, e), [i // v.rows, e]))

    def _steps(self, sums: list[Any], start: Any, count: int, begins: bool = False) -> None:
        """Multiply `count` input channels from `start` on; the sums begin with the first ones if `begins` says so."""
        plan = self.plan
        short = plan.channels * self.rows * len(self.vectors) <= WRITTEN_OUT
        fence(plan.spec["fenced"] and (short or count != plan.tile.unroll) and not begins)
        value = self._values(self.start + start, count)
        for k in range(count):
            self._step(sums, start + k, lambda i, k=k: value(i, k), begins and k == 0)

    def _step(self, sums: list[Any], channel: Any, value: Callable[[int], Any], begins: bool) -> None:
        """Multiply one input channel, whose values are given by row."""
        products, dtype = self.products, self.plan.dtype

        def total(i: int, j: int, e: Any) -> Any:
            v = self.vectors[j]
            weight = products.weights(products.block, self.point, channel, v.at + e)
            return (const(0, dtype) if begins else sums[j][i // v.rows, e]) + _of_rows(value, i, v, e) * weight

        self._each(sums, total)

    def _values(self, start: Any, count: int) -> Callable[[int, int], Any]:
        """Value `k` of `count` from `start` on in each row, as `(row, k)`; loaded together where the core multiplies by
        a lane of a register. Of a single round of steps LLVM writes out all points, and would spill them (Cortex-A53,
        4 channels)."""
        from tvm.tirx.script import builder as T

        data, row = self.products.data, self.plan.row
        if not self.plan.spec["by_lane"] or count & (count - 1) or self.plan.channels < 2 * count:
            return lambda i, k: data[start + i * row + k]
        cells = T.alloc_buffer((self.rows, count), self.plan.dtype, scope="local")
        with T.unroll(0, self.rows) as i:
            store(cells, count, lambda e: (data[start + i * row + e], [i, e]))
        return lambda i, k: cells[i, k]


def _of_rows(value: Callable[[int], Any], i: int, vector: Vector, e: Any) -> Any:
    """The value of the row that lane `e` of a vector is of: row `i`, or the next one."""
    from tvm import tirx

    return value(i) if vector.rows == 1 else tirx.Select(e < vector.width, value(i), value(i + 1))
