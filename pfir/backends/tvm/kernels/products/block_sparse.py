"""Matrix products with a constant right side that skip blocks of zeros: blocks of output channels by one input channel.

Each block of outputs has a list of the inputs whose weights are not all zero, filled up to whole rounds by its last
input with weights of zero. All lists stand one behind the other, as do their weights, so that the code is one for all
blocks; where a list begins is read. The last tile of rows overlaps the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product as pairs
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import as_float, bias_first, split, tail, to_index
from pfir.backends.tvm.kernels.written import argument, start, store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from pfir.ir.costs.zeros import blocks_kept
from pfir.target import SINGLE


def pack(weight: np.ndarray, tile: SparseTile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[I, O]` -> the weights `[K, lanes]` of all blocks that are kept, their inputs `[K]`, and the rounds before each
    block of outputs and behind the last one, `[O / lanes + 1]`."""
    kept = blocks_kept(weight, tile.lanes)
    blocks = weight.reshape(len(weight), -1, tile.lanes)
    lists = [np.flatnonzero(column) for column in kept.T]
    filled = [np.pad(inputs, (0, -len(inputs) % tile.unroll), "edge") if len(inputs) else inputs for inputs in lists]
    values = np.zeros((sum(map(len, filled)), tile.lanes), weight.dtype)
    begin = 0
    for block, (inputs, all_of_them) in enumerate(zip(lists, filled, strict=True)):
        values[begin : begin + len(inputs)] = blocks[inputs, block]
        begin += len(all_of_them)
    rounds = np.cumsum([0, *(len(inputs) // tile.unroll for inputs in filled)])
    return values, np.concatenate(filled).astype(np.int32), rounds.astype(np.int32)


def block_sparse(spec: KernelSpec, tile: SparseTile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the columns."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.out.dtype)
        *leading, inner = spec.operands[0].memory
        data = T.decl_buffer((prod(leading), inner), SINGLE, data=operands[0].tensor.data)
        result = T.decl_buffer((prod(leading), spec.out.memory[-1]), spec.out.dtype, data=out.tensor.data)
        _Writer(spec, tile, operands, data, result).write()
    return ib.get()


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one kernel."""

    spec: KernelSpec
    tile: SparseTile
    operands: list[Any]
    data: Any
    result: Any

    def write(self) -> None:
        """All blocks of a tile of rows, whose values stay near, then the next tile."""
        from tvm.tirx.script import builder as T

        rows, blocks = int(self.data.shape[0]), int(self.result.shape[1]) // self.tile.lanes
        rounds = -(-rows // self.tile.rows)
        with (T.parallel if self.tile.threads > 1 else T.serial)(0, rounds * blocks) as n:
            self._tile(start(n // blocks, rounds, self.tile.rows, rows), n % blocks)

    def _tile(self, row: Any, block: Any) -> None:
        """The sums of a block over the rows from `row` on, started from the bias, then what follows."""
        from tvm.tirx.script import builder as T

        tile, begins = self.tile, self.operands[3].tensor
        sums = T.alloc_buffer((tile.copies, tile.rows, tile.lanes), SINGLE, scope="local")
        bias, spec = bias_first(self.spec) if self.spec.out.order[-1] == 1 else (None, self.spec)
        for copy, i in pairs(range(tile.copies), range(tile.rows)):
            begin = bias if copy == 0 else None
            store(sums, tile.lanes, lambda e, c=copy, i=i, b=begin: (self._begin(b, block, e), [c, i, e]))
        with T.serial(0, begins[block + 1] - begins[block]) as n:
            self._round(sums, row, (begins[block] + n) * tile.unroll)
        for i in range(tile.rows):
            store(self.result, tile.lanes, lambda e, i=i: self._result(spec, sums, row, block, i, e))

    def _begin(self, bias: int | None, block: Any, e: Any) -> Any:
        """The bias of a lane, or zero."""
        if bias is None:
            return const(0, SINGLE)
        column = block * self.tile.lanes + e
        return self.operands[bias](*(column if size > 1 else 0 for size in self.spec.operands[bias].shape))

    def _round(self, sums: Any, row: Any, first: Any) -> None:
        """Multiply the inputs of a round, whose place in the lists is given."""
        _, weights, inputs, _ = (operand.tensor for operand in self.operands[:4])
        for step, i in pairs(range(self.tile.unroll), range(self.tile.rows)):
            value = as_float(self.data[row + i, inputs[first + step]], SINGLE)
            store(
                sums,
                self.tile.lanes,
                lambda e, s=step, c=step % self.tile.copies, i=i, value=value: (
                    sums[c, i, e] + value * weights[first + s, e],
                    [c, i, e],
                ),
            )

    def _result(self, spec: KernelSpec, sums: Any, row: Any, block: Any, i: int, e: Any) -> tuple[Any, list[Any]]:
        """What follows a sum, and where it goes."""
        out, place, column = self.spec.out, row + i, block * self.tile.lanes + e
        total = sums[0, i, e]
        for copy in range(1, self.tile.copies):
            total = total + sums[copy, i, e]
        index = to_index(out, (*split(place, out.memory[:-1]), column))
        return tail(spec, self.operands, index, total), [place, column]
