"""Matrix products with a constant right side whose last vector of columns is as narrow as what is left of them.

Where a core multiplies two vectors of half the width in the time of a whole one, that takes half a vector's time. No
core gains from halves of the narrowest of these: such a last vector holds two rows. It overlaps the one before it where
it still is too wide, and the last tile of rows the one before it. Packed weights are `[I, b]` for each block of
vectors, flat; the last block has those that are left, those of two rows twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import bias_first, split, tail, to_index
from pfir.backends.tvm.kernels.written import argument, start, store
from pfir.backends.tvm.tiles import FEWEST_LANES, Tile
from pfir.target import FLOAT32

Vectors = list[tuple[int, int]]
"""First column and lanes of each."""


def vectors(columns: int, lanes: int) -> Vectors:
    """Those that cover the columns, which are no fewer than lanes."""
    found = [(first, lanes) for first in range(0, columns - lanes + 1, lanes)]
    if rest := columns % lanes:
        last = max(FEWEST_LANES, 1 << (rest - 1).bit_length())
        found.append((columns - last, last))
    return found


def sharing(lanes: int, tile: Tile) -> int:
    """Rows that a vector of so many columns holds."""
    return 2 if lanes < tile.lanes == 2 * FEWEST_LANES else 1


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """`[I, O]` -> `[I, b]` one block after the other, flat."""
    blocks = _blocks(weight.shape[1], tile)
    columns = [[first + lane for first, lanes in block for _ in range(sharing(lanes, tile)) for lane in range(lanes)]
               for block in blocks]  # fmt: skip
    return np.concatenate([weight[:, those].reshape(-1) for those in columns])


def _blocks(columns: int, tile: Tile) -> list[Vectors]:
    found = vectors(columns, tile.lanes)
    return [found[i : i + tile.vectors] for i in range(0, len(found), tile.vectors)]


def narrowing(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the columns."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, FLOAT32) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, FLOAT32)
        data, result = (T.decl_buffer((end.form.size,), FLOAT32, data=end.tensor.data) for end in (operands[0], out))
        _Writer(spec, tile, operands, data, result).write()
    return ib.get()


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one kernel."""

    spec: KernelSpec
    tile: Tile
    operands: list[Any]
    data: Any
    result: Any

    @property
    def rows(self) -> int:
        return prod(self.spec.out.memory[:-1])

    @property
    def inner(self) -> int:
        return self.spec.operands[0].memory[-1]

    @property
    def columns(self) -> int:
        return self.spec.out.memory[-1]

    def write(self) -> None:
        """Blocks of whole vectors, then the one that is left."""
        blocks = _blocks(self.columns, self.tile)
        self._tiles(0, blocks[:-1])
        self._tiles(len(blocks) - 1, blocks[-1:])

    def _tiles(self, first: int, blocks: list[Vectors]) -> None:
        """All rows of blocks that are alike, from the `first` of all on."""
        from tvm.tirx.script import builder as T

        if not blocks:
            return
        rows = min(self.rows, self.tile.rows * self.tile.vectors // len(blocks[0]))
        rows -= rows % sharing(blocks[0][-1][1], self.tile)
        rounds, wide = -(-self.rows // rows), self.tile.block
        with (T.parallel if self.tile.threads > 1 else T.serial)(0, len(blocks) * rounds) as n:
            row, further = start(n % rounds, rounds, rows, self.rows), n // rounds * wide
            self._tile(row, rows, further, blocks[0], (first * wide + further) * self.inner)

    def _tile(self, row: Any, rows: int, further: Any, block: Vectors, packed: Any) -> None:
        """Rows from `row` on of a block `further` columns on, whose weights begin at `packed`."""
        from tvm.tirx.script import builder as T

        bias, steps = bias_first(self.spec) if self.spec.out.order[-1] == 1 else (None, self.spec)
        share = [sharing(lanes, self.tile) for _, lanes in block]
        wide = [lanes * n for (_, lanes), n in zip(block, share, strict=True)]
        sums = [
            T.alloc_buffer((rows // n, lanes), FLOAT32, scope="local") for n, lanes in zip(share, wide, strict=True)
        ]
        places = [(i, j, *vector) for i in range(rows) for j, vector in enumerate(block)]

        def at(i: int, first: int, e: Any) -> tuple[Any, ...]:
            return to_index(self.spec.out, (*split(row + i, self.spec.out.memory[:-1]), further + first + e))

        def cell(i: int, j: int, e: Any) -> list[Any]:
            return [i // share[j], i % share[j] * block[j][1] + e]

        for i, j, first, lanes in places:
            store(sums[j], lanes, lambda e, i=i, j=j, first=first: (
                const(0) if bias is None else self.operands[bias].broadcast(at(i, first, e)),
                cell(i, j, e)))  # fmt: skip

        def step(k: Any) -> None:
            for j, lanes in enumerate(wide):
                weight = packed + k * sum(wide) + sum(wide[:j])
                for i in range(rows // share[j]):
                    store(sums[j], lanes, lambda e, i=i, j=j, weight=weight: (
                        sums[j][i, e] + self._value(row + i * share[j], k, e, block[j][1], share[j])
                        * self.operands[1].tensor[weight + e], [i, e]))  # fmt: skip

        unroll = self.tile.unroll
        with T.serial(0, self.inner // unroll) as outer:
            for k in range(unroll):
                step(outer * unroll + k)
        for k in range(self.inner // unroll * unroll, self.inner):
            step(k)
        for i, j, first, lanes in places:
            store(self.result, lanes, lambda e, i=i, j=j, first=first: (
                tail(steps, self.operands, at(i, first, e), sums[j][tuple(cell(i, j, e))]),
                [(row + i) * self.columns + further + first + e]))  # fmt: skip

    def _value(self, row: Any, k: Any, e: Any, lanes: int, rows: int) -> Any:
        """Value `k` of a row, or of two for as many lanes each."""
        from tvm import tirx

        one = self.data[row * self.inner + k]
        return one if rows == 1 else tirx.Select(e < lanes, one, self.data[(row + 1) * self.inner + k])
