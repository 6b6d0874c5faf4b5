"""Direct convolutions over channels-last activations, written out: nothing is copied or padded, no predicate is left.

The last vector of output channels overlaps the one before it, and the last tile of a row of positions the one before
it. Taps that the border cuts off are left out, those of the kernel's rows by the loop over them, those of its columns
in the code of the tiles at the border. Where the taps of a row lie side by side in memory, they and their channels are
one axis; its last values are loaded together with some of those before them. Packed weights are flat: for each group
and block `[KH, KW, I, b]` for the vectors, then `[singles, KH, KW, I]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.direct.image import image_of
from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.direct.tile import Buffers, Place, RegisterTile
from pfir.backends.tvm.kernels.written import argument
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import SINGLE


def pack(weight: np.ndarray, group: int, blocks: tuple[Block, ...]) -> np.ndarray:
    """`[G*O, I, KH, KW]` -> flat, as the kernel reads it."""
    return np.concatenate(
        [
            part.reshape(-1)
            for rows in _groups(weight, group, blocks)
            for vectors, singles in _channels(blocks, len(rows))
            for part in (rows[vectors].T, rows[singles])
        ]
    )


def _groups(weight: np.ndarray, group: int, blocks: tuple[Block, ...]) -> np.ndarray:
    """`[G, O, KH * KW * I]`, O no fewer than the lanes of the first vector: zeros where there are none."""
    rows = weight.transpose(0, 2, 3, 1).reshape(group, len(weight) // group, -1)
    return np.pad(rows, ((0, 0), (0, max(0, blocks[0].lanes[0] - rows.shape[1])), (0, 0)))


def _channels(blocks: tuple[Block, ...], channels: int) -> Iterator[tuple[list[int], list[int]]]:
    """The output channels of each block's lanes, and its singles."""
    first = 0
    for block in blocks:
        for _ in range(block.count):
            lanes = [channel for j in range(len(block.lanes)) for channel in range(*_span(block, first, j, channels))]
            behind = first + sum(block.lanes)
            yield lanes, list(range(behind, behind + block.singles))
            first += block.channels


def _span(block: Block, first: int, j: int, channels: int) -> tuple[int, int]:
    """The first channel of vector `j` of a block, and the one behind it."""
    begin = min(first + sum(block.lanes[:j]), channels - block.lanes[j])
    return begin, begin + block.lanes[j]


def direct(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `strides`, `dilations`, `pads` (begin), `group`, `kernel`,
    `blocks`, whether it multiplies `by_lane`, and whether it is `fenced`; `tile` has its steps and threads."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        layer = Layer(spec, tile)
        _blocks(layer, Buffers(operands, image_of(layer, operands[0], const(0)), result))
    return ib.get()


def _blocks(layer: Layer, buffers: Buffers) -> None:
    """All positions of a group by one kind of blocks after the other."""
    from tvm.tirx.script import builder as T

    blocks, groups, (batch, _, height, _) = layer.spec["blocks"], layer.spec["group"], layer.spec.out.shape
    size = layer.values * sum(block.count * block.channels for block in blocks)
    first, lines = 0, batch * height
    for block in blocks:
        with (T.parallel if layer.tile.threads > 1 else T.serial)(0, groups * block.count * lines) as task:
            group, channel = task // (lines * block.count), first + task // lines % block.count * block.channels
            weights = group * size + channel * layer.values
            for start, count, rows, taps in layer.tiles(block.rows):
                with T.serial(0, count) as i:
                    place = Place(task // height % batch, task % height, start + i * rows, group, channel, weights)
                    RegisterTile(layer, buffers, block, place, rows, taps).write()
        first += block.count * block.channels
