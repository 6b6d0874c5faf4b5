"""Depthwise convolutions over integers of eight bits, channels last, written out, without a copy of the image.

Lines of the result come in blocks of channels, and those in tiles of positions. Rows outside the image are read as the
nearest one inside, and have zeros for weights; columns outside are left out of the code. Sums start from what the zero
point adds where taps are left out.
"""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.kernels.integers.depthwise.tile import ColumnTile, Depthwise, Lines
from pfir.backends.tvm.kernels.written import argument, start
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.tile_kinds import Tile
from pfir.target import SINGLE


def depthwise_int8(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR.

    Operands: the data, weights as `pack_depthwise` has them, and `starts`; then those of the steps. Attributes:
    `strides`, `dilations`, `pads` (begin), `kernel`, `blocks` of channels, how many `lines` a tile has, the instruction
    (`dot`; empty for products of 16 bits), what rounds (`by`), and whether it is `fenced`.
    """
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        data = operands[0]
        image = T.decl_buffer((data.form.size,), data.form.dtype, data=data.tensor.data)
        _blocks(Depthwise(spec, operands, image, result), tile.threads)
    return ib.get()


def _blocks(kernel: Depthwise, threads: int) -> None:
    """All lines by one kind of blocks after the other."""
    from tvm.tirx.script import builder as T

    (batch, _, height, _), lines, first = kernel.spec.out.shape, kernel.spec["lines"], 0
    passes = -(-height // lines)
    for block in kernel.spec["blocks"]:
        with (T.parallel if threads > 1 else T.serial)(0, batch * passes * block.count) as task:
            y = start(task // block.count % passes, passes, lines, height)
            place = first + task % block.count * block.channels
            _tiles(kernel, _lines(kernel, task // (block.count * passes), y, place, block), block)
        first += block.count * block.channels


def _lines(kernel: Depthwise, batch: Any, y: Any, place: Any, block: Block) -> Lines:
    """The lines from `y` on of the block that begins at channel `place`, or earlier where it overlaps."""
    from tvm import tirx

    rows, columns = kernel.borders
    channels, count = kernel.channels, kernel.spec["lines"]
    packed = sum(block.count * block.channels for block in kernel.spec["blocks"]) * count * kernel.packed
    channel = tirx.min(place, channels - block.channels)
    kinds = [rows.at(y + line) for line in range(count)]
    weights = [
        kind * packed + (place * count + line * block.channels) * kernel.packed for line, kind in enumerate(kinds)
    ]
    return Lines(
        batch, y, channel, block.channels, weights, [kind * columns.classes * channels + channel for kind in kinds]
    )


def _tiles(kernel: Depthwise, lines: Lines, block: Block) -> None:
    """All tiles of a line, those alike in a loop."""
    from tvm.tirx.script import builder as T

    for run in kernel.axes[1].even_runs(block.rows):
        with T.serial(0, run.count) as i:
            ColumnTile(kernel, lines, run.start(i), run.first, run.taps).write()
