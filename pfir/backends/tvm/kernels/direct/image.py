"""The image that a direct convolution reads: the data as it lies, or a copy with its border."""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.kernels.direct.layer import Layer


def image_of(layer: Layer, data: Operand, filling: Any) -> Any:
    """The image with columns and channels as one axis, `[N, H, W * C]`.

    Args:
        filling: What a copy holds at the border, and in channels that the data does not have; of the copy's type.
    """
    return _copied(layer, data, filling) if layer.bordered else _flat(data)


def _flat(data: Operand) -> Any:
    """The data itself."""
    from tvm.tirx.script import builder as T

    batch, height, width, channels = data.form.memory
    return T.decl_buffer((batch, height, width * channels), data.form.dtype, data=data.tensor.data)


def _copied(layer: Layer, data: Operand, filling: Any) -> Any:
    """A copy in this form, whole groups of channels, with the filling around it."""
    from tvm.tirx.script import builder as T

    (batch, channels, height, width), rows, columns = data.form.shape, layer.rows.size, layer.columns.size
    (top, left), across = layer.spec["pads"], layer.across
    image = T.alloc_buffer((batch, rows, columns * across), str(filling.ty))
    first, last = max(0, left), min(columns, left + width)

    def fill(row: Any, begin: int, end: int) -> None:
        with T.serial(0, max(0, end - begin) * across) as i:
            T.buffer_store(image, filling, [row // rows, row % rows, begin * across + i])

    with (T.parallel if layer.tile.threads > 1 else T.serial)(0, batch * rows) as row:
        y = row % rows - top
        fill(row, 0, first)
        fill(row, last, columns)
        with T.If(T.And(y >= 0, y < height)):
            with T.Then(), T.serial(first, last) as x:
                for c in range(across):
                    value = data(row // rows, c, y, x - left) if c < channels else filling
                    T.buffer_store(image, value, [row // rows, row % rows, x * across + c])
            with T.Else():
                fill(row, first, last)
    return image
