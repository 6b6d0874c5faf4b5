"""Products of two tensors that are both computed at run time, as in attention: a matrix for each batch index.

The right side is read as it lies, vectors along its columns. The last tiles of rows and columns start early enough to
end with the matrix, so that no size costs a predicate.
"""

from __future__ import annotations

from dataclasses import replace
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
            index = split(task // (columns * rows), batch)
            _product(
                spec,
                tile,
                operands,
                out,
                index,
                start(task % rows, rows, tile.rows, m),
                start(task // rows % columns, columns, tile.block, n),
            )
    return ib.get()


def _product(
    spec: KernelSpec, tile: MatrixTile, operands: list[Operand], out: Any, batch: tuple[Any, ...], m: Any, n: Any
) -> None:
    """One tile of the result, from row `m` and column `n` on."""
    from tvm.tirx.script import builder as T

    left, right, inner, lanes = operands[0], operands[1], spec.operands[0].shape[-1], tile.lanes
    sums = T.alloc_buffer((tile.rows, tile.vectors, lanes), SINGLE, scope="local")
    over_tile(tile.rows, tile.vectors, lambda i, j: store(sums, lanes, lambda e: (const(0), [i, j, e])))

    def step(k: Any) -> None:
        over_tile(
            tile.rows,
            tile.vectors,
            lambda i, j: store(
                sums,
                lanes,
                lambda e: (
                    sums[i, j, e]
                    + left.broadcast((*batch, m + i, k)) * right.broadcast((*batch, k, n + j * lanes + e)),
                    [i, j, e],
                ),
            ),
        )

    with T.serial(0, inner // tile.unroll) as outer, T.unroll(0, tile.unroll) as one:
        step(outer * tile.unroll + one)
    with T.serial(inner // tile.unroll * tile.unroll, inner) as k:
        step(k)

    def result(i: Any, j: Any) -> None:
        def value(e: Any) -> tuple[Any, list[Any]]:
            index = (*batch, m + i, n + j * lanes + e)
            return tail(spec, operands, index, sums[i, j, e]), [index[axis] for axis in spec.out.order]

        store(out.tensor, lanes, value)

    over_tile(tile.rows, tile.vectors, result)
