"""Direct convolutions over integers of eight bits, channels last, written out; a product is one over flat positions.

As the float ones (`kernels/direct`), but that four neighbouring input values are multiplied by one instruction, and
that the border stands for the zero point: sums start from what it adds where taps are left out.
"""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.integers.groups import values_of
from pfir.backends.tvm.kernels.integers.packing import Border
from pfir.backends.tvm.kernels.integers.tile import Buffers, Place, RegisterTile
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
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        layer = Layer(spec, tile)
        image = _copied(layer, operands[0]) if layer.bordered else _image(operands[0])
        _blocks(layer, Buffers(operands, image, result))
    # If LLVM knew that the result overlaps no weights, it would load them ahead of the loop over tiles, and spill them.
    return ib.get().with_attr("tirx.noalias", not spec["fenced"])


def border(layer: Layer, axis: int) -> Border:
    """The classes of rows (axis 0) or columns (1)."""
    return Border(*(layer.rows, layer.columns)[axis])


def _image(data: Operand) -> Any:
    """The same image with columns and channels as one axis, `[N, H, W * C]`."""
    from tvm.tirx.script import builder as T

    batch, height, width, channels = data.form.memory
    return T.decl_buffer((batch, height, width * channels), data.form.dtype, data=data.tensor.data)


def _copied(layer: Layer, data: Operand) -> Any:
    """A copy of the image in this form, whole groups of channels, with the zero point around it."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    (batch, channels, height, width), rows, columns = data.form.shape, layer.rows.size, layer.columns.size
    (top, left), across = layer.spec["pads"], layer.across
    image = T.alloc_buffer((batch, rows, columns * across), data.form.dtype)
    zero, first, last = tirx.const(layer.spec["zero"], data.form.dtype), max(0, left), min(columns, left + width)

    def zeros(row: Any, begin: int, end: int) -> None:
        with T.serial(0, max(0, end - begin) * across) as i:
            T.buffer_store(image, zero, [row // rows, row % rows, begin * across + i])

    with (T.parallel if layer.tile.threads > 1 else T.serial)(0, batch * rows) as row:
        y = row % rows - top
        zeros(row, 0, first)
        zeros(row, last, columns)
        with T.If(T.And(y >= 0, y < height)):
            with T.Then(), T.serial(first, last) as x:
                for c in range(across):
                    value = data(row // rows, c, y, x - left) if c < channels else zero
                    T.buffer_store(image, value, [row // rows, row % rows, x * across + c])
            with T.Else():
                zeros(row, first, last)
    return image


def _blocks(layer: Layer, buffers: Buffers) -> None:
    """All positions of a group by one kind of blocks after the other."""
    from tvm.tirx.script import builder as T

    blocks, groups, (batch, _, height, _) = layer.spec["blocks"], layer.spec["group"], layer.spec.out.shape
    taps = layer.spec["kernel"][0] * layer.spec["kernel"][1]
    together = layer.spec["together"]
    values = together * taps * len(values_of(layer.inner, together))
    size = values * sum(block.count * block.channels for block in blocks)
    rows, columns, first, lines = border(layer, 0), border(layer, 1), 0, batch * height
    for block in blocks:
        with (T.parallel if layer.tile.threads > 1 else T.serial)(0, groups * block.count * lines) as task:
            group, channel = task // (lines * block.count), first + task // lines % block.count * block.channels
            for start, count, most, met in layer.tiles(block.rows, positions_together(layer.spec["dot"])):
                with T.serial(0, count) as i:
                    place = Place(task // height % batch, task % height, start + i * most, group, channel)
                    kinds = tuple(columns.of(start + k) for k in range(most))
                    weights = group * size + channel * values
                    RegisterTile(layer, buffers, block, place, weights, rows, columns.classes, kinds, met).write()
        first += block.count * block.channels
