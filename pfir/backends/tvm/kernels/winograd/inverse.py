"""The last part of a Winograd convolution: tiles of the result from their points, with bias, residual and activation.

A bias costs one addition: one point of each tile adds to all positions alike. The sums of a row grow by two columns of
points at a time, so that few values wait in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, bias_first, tail
from pfir.backends.tvm.kernels.winograd.plan import Plan
from pfir.backends.tvm.kernels.winograd.transforms import backward, both, weighted
from pfir.backends.tvm.kernels.written import along, fence, store, where

# Row and column of the point that adds the same to every position of a tile.
EVERYWHERE = (1, 1)


@dataclass(frozen=True)
class Row:
    """A row of a tile of the result: where it lies in the image, which one of the tile it is, and its first column."""

    y: Any
    row: int
    left: Any


@dataclass(frozen=True)
class Results:
    """The code that turns the products of one strip of tiles of one image into results."""

    plan: Plan
    operands: list[Operand]
    products: Any
    result: Any
    batch: Any
    strip: Any

    def write(self, block: Any, channels: int, first: Any, tiles: int) -> None:
        """`tiles` tiles from tile `first` of the strip on, of `channels` channels from channel `block` on."""
        for rows in self.plan.passes:
            self._pass(block, channels, first, tiles, rows)

    def _pass(self, block: Any, channels: int, first: Any, tiles: int, rows: tuple[int, ...]) -> None:
        """Some rows of all these tiles."""
        from tvm.tirx.script import builder as T

        with T.serial(0, tiles) as i:
            along(channels, self.plan.spec["lanes"], lambda o, lanes: self._rows(i, first + i, block, o, lanes, rows))

    def _rows(self, i: Any, place: Any, block: Any, o: Any, lanes: int, rows: tuple[int, ...]) -> None:
        """Some rows of a tile, `lanes` channels from `o` in the block."""
        plan = self.plan
        top = (self.strip * plan.spec["strip"] + place // plan.across) * plan.m
        left = place % plan.across * plan.m
        cells = self._cells(i, block, o, lanes, rows)
        for r, row in enumerate(rows):
            self._write_row(cells, r, Row(top + row, row, left), block + o, lanes)
        fence(plan.spec["fenced"])

    def _cells(self, i: Any, block: Any, o: Any, lanes: int, rows: tuple[int, ...]) -> Any:
        """The positions of these rows of a tile, `[rows, m, lanes]`."""
        from tvm.tirx.script import builder as T

        m = self.plan.m
        cells = T.alloc_buffer((len(rows), m, lanes), self.plan.sums, scope="local")
        ends = self._down(i, block, o, lanes, rows, (0, m + 1))
        for r in range(len(rows)):
            store(cells, lanes, *(lambda e, r=r, n=n: (ends[n, r, e], [r, n * (m - 1), e]) for n in range(2)))
        for pair in range(m // 2):
            lines = self._down(i, block, o, lanes, rows, (2 * pair + 1, 2 * pair + 2))
            for r in range(len(rows)):
                self._add_pair(cells, r, lines, pair, lanes)
        return cells

    def _add_pair(self, cells: Any, r: int, lines: Any, pair: int, lanes: int) -> None:
        """What two columns of points add to a row; the first pair begins all sums but those at the row's ends."""
        m = self.plan.m

        def value(e: Any, x: int) -> Any:
            begun = [(cells[r, x, e], 1)] if pair > 0 or x in (0, m - 1) else []
            return weighted([*begun, both(x, pair, lines[0, r, e], lines[1, r, e])])

        store(cells, lanes, *(lambda e, x=x: (value(e, x), [r, x, e]) for x in range(m)))

    def _down(self, i: Any, block: Any, o: Any, lanes: int, rows: tuple[int, ...], columns: tuple[int, int]) -> Any:
        """These rows of the result down two columns of points, `[2, rows, lanes]`."""
        from tvm.tirx.script import builder as T

        side = range(self.plan.side)
        lines = T.alloc_buffer((2, len(rows), lanes), self.plan.sums, scope="local")
        for n, x in enumerate(columns):
            store(
                lines,
                lanes,
                *(
                    lambda e, n=n, r=r, x=x, y=y: (
                        backward(self.plan.m, [self._point(i, k, x, block, o + e) for k in side])[y],
                        [n, r, e],
                    )
                    for r, y in enumerate(rows)
                ),
            )
        return lines

    def _point(self, i: Any, k: int, x: int, block: Any, o: Any) -> Any:
        value = self.products[self.plan.spot(i, k * self.plan.side + x) + o]
        bias, _ = bias_first(self.plan.spec)
        if bias is None or (k, x) != EVERYWHERE:
            return value
        return value + self.operands[bias].broadcast((0, block + o, 0, 0))

    def _write_row(self, cells: Any, r: int, at: Row, o: Any, lanes: int) -> None:
        """Write row `r` of the positions, `lanes` channels of them from `o` on; what lies outside the image is left
        out."""
        (_, _, height, width), m = self.plan.spec.out.shape, self.plan.m
        _, rest = bias_first(self.plan.spec)
        with where(at.y < height, 0 < height % m <= at.row):
            for x in range(m):
                with where(at.left + x < width, 0 < width % m <= x):
                    store(
                        self.result,
                        lanes,
                        lambda e, x=x: (
                            tail(rest, self.operands, (self.batch, o + e, at.y, at.left + x), cells[r, x, e]),
                            [self.batch, at.y, at.left + x, o + e],
                        ),
                    )
