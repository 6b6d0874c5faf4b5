"""The last part: tiles of the result from their points, in 32 bits, and what becomes of integer sums."""

from __future__ import annotations

from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.integers.results import Vector, write_vectors
from pfir.backends.tvm.kernels.integers.winograd.lanes import COUNT, Lanes, loaded
from pfir.backends.tvm.kernels.integers.winograd.packing import WHOLE
from pfir.backends.tvm.kernels.winograd.inverse import EVERYWHERE, Results, Row
from pfir.backends.tvm.kernels.winograd.transforms import backward, both, weighted
from pfir.backends.tvm.kernels.written import fence, where
from pfir.backends.tvm.lowering.expressions import const

_STARTS = 2  # the operand


class IntegerResults(Results):
    """The code that turns the products of one strip of tiles of one image into results."""

    def _cells(self, i: Any, block: Any, o: Any, lanes: int, rows: tuple[int, ...]) -> Any:
        """The sums of these rows of a tile, times a power of two: `[rows, m, lanes]`. Those of four channels after the
        other: of more, points and sums would not stay in registers."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        plan = self.plan
        cells = T.alloc_buffer((len(rows), plan.m, lanes), plan.sums, scope="local")
        inverse = tirx.Broadcast(const(WHOLE[plan.m].inverse, plan.sums), COUNT)
        for first in range(0, lanes, COUNT):
            fence(plan.spec["fenced"] and first > 0, whole=True)
            for (r, x), total in self._positions(i, block, o + first, rows).items():
                T.buffer_store(cells, total.vector * inverse, [r, x, tirx.Ramp(first, 1, COUNT)])
        return cells

    def _positions(self, i: Any, block: Any, o: Any, rows: tuple[int, ...]) -> dict[tuple[int, int], Lanes]:
        """These rows of a tile, by row and column."""
        m, whole = self.plan.m, WHOLE[self.plan.m]
        first, last = (self._down(i, block, o, rows, x) for x in (0, m + 1))
        found = {(r, 0): value for r, value in enumerate(first)}
        found |= {(r, m - 1): _times(value, whole.last) for r, value in enumerate(last)}
        for pair in range(m // 2):
            lines = [self._down(i, block, o, rows, 2 * pair + n) for n in (1, 2)]
            for r, x in pairs(range(len(rows)), range(m)):
                begun = [(found[r, x], 1)] if (r, x) in found else []
                found[r, x] = weighted([*begun, both(x, pair, lines[0][r], lines[1][r])]).kept()
        return found

    def _down(self, i: Any, block: Any, o: Any, rows: tuple[int, ...], x: int) -> list[Lanes]:
        """These rows down a column of points."""
        points = [self._vector(i, k, x, block, o) for k in range(self.plan.side)]
        points[-1] = _times(points[-1], WHOLE[self.plan.m].last)
        return [backward(self.plan.m, points)[y].kept() for y in rows]

    def _vector(self, i: Any, k: int, x: int, block: Any, o: Any) -> Lanes:
        plan = self.plan
        point = Lanes(loaded(self.products, plan.spot(i, k * plan.side + x) + o), plan.spec["fenced"])
        if (k, x) == EVERYWHERE:
            point += Lanes(loaded(self.operands[_STARTS].tensor, block + o), point.ordered)
        return point.kept()

    def _write_row(self, cells: Any, r: int, at: Row, o: Any, lanes: int) -> None:
        plan = self.plan
        (_, _, height, width), m = plan.spec.out.shape, plan.m
        with where(at.y < height, 0 < height % m <= at.row):
            for x in range(m):
                with where(at.left + x < width, 0 < width % m <= x):
                    vector = Vector(self.batch, o, at.y, at.left + x, lambda e, x=x: cells[r, x, e])
                    write_vectors(plan.spec, self.operands, self.result, lanes, [vector])


def _times(value: Lanes, factor: int) -> Lanes:
    return value * factor if factor > 1 else value
