"""Products of bytes that skip units of weights that are zero: some outputs by some inputs, side by side.

Each block of outputs has a list of the inputs at which its units begin that are not all zero. All lists stand one
behind the other, as do their weights, so that the code is one for all blocks; where a list begins is read. What is
summed, and what follows, are as in kernels that multiply all weights, so the results are the same to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.direct.tile import Buffers, Place
from pfir.backends.tvm.kernels.integers.convolution import function_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.pairs.packing import packed_blocks
from pfir.backends.tvm.kernels.integers.sums import Run, Sums
from pfir.backends.tvm.kernels.integers.tile import RegisterTile
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.integers.dot_blocks import positions_together
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.ir.costs.zeros import blocks_kept


def pack_units(weight: np.ndarray, schedule: SparseBlocks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`[O, I]` int8 -> the weights of all units that are kept, flat, those of each as a whole block's; the first input
    of each unit, `[K]`; and the units before each block of outputs and behind the last one, `[O / lanes + 1]`."""
    lanes, inputs = schedule.lanes, schedule.inputs
    kept = blocks_kept(weight.T, lanes, inputs).T
    block, unit = np.nonzero(kept)
    units = weight.reshape(len(kept), lanes, -1, inputs)[block, :, unit]
    packed = packed_blocks(schedule.plan, units.reshape(-1, inputs, 1, 1), 1, inputs, len(units))
    return packed, (unit * inputs).astype(np.int32), np.cumsum([0, *kept.sum(1)]).astype(np.int32)


def block_sparse_int8(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A kernel as a function of TensorIR.

    Operands: the data, packed weights, `starts`, the first inputs of units, and the units before each block; then those
    of the steps. Attributes: as of `conv_int8`, and `inputs` of a unit.
    """
    return function_of(spec, tile, _blocks)


def _blocks(layer: Layer, buffers: Buffers) -> None:
    """All positions by one block of outputs, whose weights stay near, then by the next."""
    from tvm.tirx.script import builder as T

    (block,), (batch, _, height, _) = layer.spec["blocks"], layer.spec.out.shape
    rows, columns, lines = Border(layer.rows), Border(layer.columns), batch * height
    with (T.parallel if layer.tile.threads > 1 else T.serial)(0, block.count * lines) as task:
        column, line = task // lines, task % lines
        for start, count, most, _ in layer.tiles(block.rows, positions_together(layer.spec["dot"])):
            with T.serial(0, count) as i:
                place = Place(line // height, line % height, start + i * most, 0, column * block.channels, 0)
                kinds = tuple(columns.of(start + k) for k in range(most))
                UnitsTile(layer, buffers, block, place, rows, columns.classes, kinds, column).write()


@dataclass(frozen=True)
class UnitsTile(RegisterTile):
    """The statements of one tile.

    Args:
        column: Which block of outputs it computes.
    """

    column: Any

    def multiply(self, sums: Sums) -> None:
        """Add the products of each unit in the block's list."""
        from tvm.tirx.script import builder as T

        inputs, begins = (operand.tensor for operand in self.buffers.operands[3:5])
        length, first = self.layer.spec["inputs"], self.place.x * self.layer.stride
        begin = T.alloc_buffer((1,), "int32", scope="local")  # else it would be read behind each fence
        T.buffer_store(begin, begins[self.column], [0])
        with T.serial(0, begins[self.column + 1] - begin[0]) as n:
            unit = begin[0] + n
            weights, at = unit * (length * self.block.channels), first + inputs[unit]
            who = tuple(range(len(self.kinds)))
            self.add(Run(self.place.batch, self.place.y, at, self.layer.stride, weights, length, who), sums)
