"""Direct convolutions over integers of eight bits, channels last, written out; a product is one over flat positions.

As the float ones (`kernels/direct`), but that four neighbouring input values are multiplied by one instruction, and
that the border stands for the zero point: sums start from what it adds where taps are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pfir.backends.tvm.kernels.direct.image import image_of
from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.direct.tile import Buffers, Place
from pfir.backends.tvm.kernels.integers.groups import values_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.taps import TapsTile
from pfir.backends.tvm.kernels.written import argument
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.integers.dot_blocks import positions_together
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import SINGLE


def conv_int8(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A kernel as a function of TensorIR.

    Operands: the data, packed weights, and `starts`; then those of the steps. Attributes: `strides`, `dilations`,
    `pads` (begin), `group`, `kernel`, `blocks`, what a border is filled with (`zero`), the values that are multiplied
    `together`, the instruction (`dot`), what rounds (`by`), and whether it is `fenced`.
    """
    return function_of(spec, tile, _blocks)


def function_of(spec: KernelSpec, tile: MatrixTile, compute: Callable[[Layer, Buffers], None]) -> Any:
    """A function of TensorIR, of which `compute` writes what is done to buffers."""
    from tvm import tirx
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        layer = Layer(spec, tile)
        image = image_of(layer, operands[0], tirx.const(spec["zero"], spec.operands[0].dtype))
        compute(layer, Buffers(operands, image, result))
    # If LLVM knew that the result overlaps no weights, it would load them ahead of the loop over tiles, and spill them.
    return ib.get().with_attr("tirx.noalias", not spec["fenced"])


def _blocks(layer: Layer, buffers: Buffers) -> None:
    """All positions of a group by one kind of blocks after the other."""
    from tvm.tirx.script import builder as T

    blocks, groups, (batch, _, height, _) = layer.spec["blocks"], layer.spec["group"], layer.spec.out.shape
    (runs, length), together = layer.runs, layer.spec["together"]
    values = together * runs * len(values_of(length, together))
    size = values * sum(block.count * block.channels for block in blocks)
    rows, columns, first, lines = Border(layer.rows), Border(layer.columns), 0, batch * height
    for block in blocks:
        with (T.parallel if layer.tile.threads > 1 else T.serial)(0, groups * block.count * lines) as task:
            group, channel = task // (lines * block.count), first + task // lines % block.count * block.channels
            weights = group * size + channel * values
            for start, count, most, met in layer.tiles(block.rows, positions_together(layer.spec["dot"])):
                with T.serial(0, count) as i:
                    place = Place(task // height % batch, task % height, start + i * most, group, channel, weights)
                    kinds = tuple(columns.of(start + k) for k in range(most))
                    TapsTile(layer, buffers, block, place, rows, columns.classes, kinds, met).write()
        first += block.count * block.channels
