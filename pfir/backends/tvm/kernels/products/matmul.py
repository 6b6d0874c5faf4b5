"""Products of two tensors that are both computed at run time, as in attention: a matrix for each batch index.

The right side is read as it lies, vectors along its columns. The last tiles of rows and columns start early enough to
end with the matrix, so that no size costs a predicate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, split, tail
from pfir.backends.tvm.kernels.written import argument, over_tile, start, store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import shared
from pfir.target import SINGLE


def fitted(tile: MatrixTile, rows: int, columns: int) -> MatrixTile:
    """The tile, no larger than the product."""
    lanes = min(tile.lanes, 1 << (columns.bit_length() - 1))
    return replace(shared(tile, rows), lanes=lanes, vectors=min(tile.vectors, columns // lanes))


def matmul(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A kernel as a function of TensorIR; the first operand is `[.., M, K]`, the second `[.., K, N]` with its columns
    innermost, and leading axes are broadcast. Sums are of float32."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    *batch, m, n = spec.out.shape
    rows, columns = -(-m // tile.rows), -(-n // tile.block)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, SINGLE)
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, prod(batch) * columns * rows)
        with T.sblock("root"), tasks as task:
            row, column = task % rows, task // rows % columns
            place = start(row, rows, tile.rows, m), start(column, columns, tile.block, n)
            _RegisterTile(spec, tile, operands, out, split(task // (columns * rows), batch), place).write()
    return ib.get()


@dataclass(frozen=True)
class _RegisterTile:
    """Writes one tile of the result.

    Args:
        batch: The index of its matrix.
        place: Its first row and column there.
    """

    spec: KernelSpec
    tile: MatrixTile
    operands: list[Operand]
    out: Operand
    batch: tuple[Any, ...]
    place: tuple[Any, Any]

    def write(self) -> None:
        """Zeros, the sums over the inner axis, and what follows them."""
        from tvm.tirx.script import builder as T

        tile, lanes, inner = self.tile, self.tile.lanes, self.spec.operands[0].shape[-1]
        sums = T.alloc_buffer((tile.rows, tile.vectors, lanes), SINGLE, scope="local")
        over_tile(tile.rows, tile.vectors, lambda i, j: store(sums, lanes, lambda e: (const(0), [i, j, e])))
        with T.serial(0, inner // tile.unroll) as outer, T.unroll(0, tile.unroll) as one:
            self._step(sums, outer * tile.unroll + one)
        with T.serial(inner // tile.unroll * tile.unroll, inner) as k:
            self._step(sums, k)
        over_tile(tile.rows, tile.vectors, lambda i, j: self._result(sums, i, j))

    def _step(self, sums: Any, k: Any) -> None:
        """Multiply-adds of one place of the inner axis."""
        (left, right, *_), (m, n), lanes = self.operands, self.place, self.tile.lanes

        def add(i: Any, j: Any, e: Any) -> tuple[Any, list[Any]]:
            value = left.broadcast((*self.batch, m + i, k)) * right.broadcast((*self.batch, k, n + j * lanes + e))
            return sums[i, j, e] + value, [i, j, e]

        over_tile(self.tile.rows, self.tile.vectors, lambda i, j: store(sums, lanes, lambda e: add(i, j, e)))

    def _result(self, sums: Any, i: Any, j: Any) -> None:
        """Compute what follows the sums of one register, and store it."""
        spec, lanes = self.spec, self.tile.lanes

        def value(e: Any) -> tuple[Any, list[Any]]:
            index = (*self.batch, self.place[0] + i, self.place[1] + j * lanes + e)
            return tail(spec, self.operands, index, sums[i, j, e]), [index[axis] for axis in spec.out.order]

        store(self.out.tensor, lanes, value)
