"""Matrix products with a constant right side whose columns fill no whole blocks: the last block overlaps.

Packed weights are `[B, I, b]`; the last block starts early enough to end with the last column, and the last tile of
rows to end with the last row, so that nothing is written by predicates, which within a vector make it scalar.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import Operand, split, tail, to_index
from pfir.backends.tvm.kernels.written import argument, over_tile, start, store
from pfir.backends.tvm.tiles import Tile
from pfir.target import FLOAT32


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """`[I, O]` -> `[B, I, b]`; columns that two blocks share stand in both."""
    columns, block = weight.shape[1], tile.block
    starts = [min(i * block, columns - block) for i in range(-(-columns // block))]
    return np.ascontiguousarray(np.stack([weight[:, s : s + block] for s in starts]))


def overlapped(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the columns."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    m, blocks = prod(spec.out.memory[:-1]), spec.operands[1].shape[0]
    rows = -(-m // tile.rows)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, FLOAT32) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, FLOAT32)
        tasks = (T.parallel if tile.threads > 1 else T.serial)(0, blocks * rows)
        with T.sblock("root"), tasks as task:
            _tile(spec, tile, operands, out, start(task % rows, rows, tile.rows, m), task // rows)
    return ib.get()


def _tile(spec: KernelSpec, tile: Tile, operands: list[Operand], out: Any, row: Any, block: Any) -> None:
    """One tile of the result."""
    from tvm.tirx.script import builder as T

    inner, (*leading, columns), lanes = spec.operands[1].shape[1], spec.out.memory, tile.lanes
    column = start(block, spec.operands[1].shape[0], tile.block, columns)
    data = T.decl_buffer((prod(leading) * inner,), FLOAT32, data=operands[0].tensor.data)
    result = T.decl_buffer((prod(leading) * columns,), FLOAT32, data=out.tensor.data)
    sums = T.alloc_buffer((tile.rows, tile.vectors, lanes), FLOAT32, scope="local")
    over_tile(tile.rows, tile.vectors, lambda i, j: store(sums, lanes, lambda e: (const(0), [i, j, e])))

    def step(k: Any) -> None:
        over_tile(tile.rows, tile.vectors, lambda i, j: store(sums, lanes, lambda e: (
            sums[i, j, e] + data[(row + i) * inner + k] * operands[1](block, k, j * lanes + e),
            [i, j, e])))  # fmt: skip

    with T.serial(0, inner // tile.unroll) as outer, T.unroll(0, tile.unroll) as one:
        step(outer * tile.unroll + one)
    with T.serial(inner // tile.unroll * tile.unroll, inner) as k:
        step(k)

    def value(i: Any, j: Any, e: Any) -> tuple[Any, list[Any]]:
        last = column + j * lanes + e
        return (tail(spec, operands, to_index(spec.out, (*split(row + i, leading), last)), sums[i, j, e]),
                [(row + i) * columns + last])  # fmt: skip

    over_tile(tile.rows, tile.vectors, lambda i, j: store(result, lanes, lambda e: value(i, j, e)))
