"""Depthwise convolutions that `depthwise.py` does not cover: of few channels, several outputs a channel, or many taps.

Packed weights are `[O/b, KH, KW, b]`. Vectors lie along the channels; the padded copy of the input is made row by row,
next to where it is used.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import parallel, placeholders, schedule_of, tail, vectorize_inner
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import ChannelTile

_UNROLLED_WINDOW = 49
STRIP_BYTES = 16 * 1024


def pack(weight: np.ndarray, tile: ChannelTile) -> np.ndarray:
    """`[O, 1, KH, KW]` -> `[O/b, KH, KW, b]`, zeros where O is no multiple of b."""
    out, _, kh, kw = weight.shape
    padded = np.pad(weight[:, 0], ((0, -out % tile.block), (0, 0), (0, 0)))
    return np.ascontiguousarray(padded.reshape(-1, tile.block, kh, kw).transpose(0, 2, 3, 1))


def window(spec: KernelSpec, tile: ChannelTile) -> Any:
    """A scheduled kernel; `spec` has `kernel`, `strides`, `dilations` and `pads` (begin, end)."""
    operands = placeholders(spec)
    return _schedule(schedule_of(operands, _compute(spec, operands, tile)), spec, tile)


def _compute(spec: KernelSpec, operands: list[Any], tile: ChannelTile) -> Any:
    from tvm import te

    n, out, oh, ow = spec.out.shape
    (kh, kw), (sh, sw), (dh, dw) = spec["kernel"], spec["strides"], spec["dilations"]
    columns, channels = _extents(spec, tile)
    copies = out // operands[0].form.shape[1]
    source = _source(spec, operands[0], tile)
    ry, rx = te.reduce_axis((0, kh), "ry"), te.reduce_axis((0, kw), "rx")

    def main(b: Any, y: Any, x: Any, o: Any) -> Any:
        pixel = source(b, y * sh + ry * dh, x * sw + rx * dw, o // copies if copies > 1 else o)
        weight = operands[1].tensor[o // tile.block, ry, rx, o % tile.block]
        return te.sum(pixel * weight, axis=[ry, rx])

    total = te.compute((n, oh, columns, channels), main, name="main")

    def finished(b: Any, y: Any, x: Any, o: Any) -> Any:
        return tail(spec, operands, (b, o, y, x), total(b, y, x, o))

    return te.compute((n, oh, ow, out), finished, name="out")


def _extents(spec: KernelSpec, tile: ChannelTile) -> tuple[int, int]:
    """Columns and channels, rounded up to the tile."""
    _, out, _, ow = spec.out.shape
    return -(-ow // tile.rows) * tile.rows, -(-out // tile.block) * tile.block


def _reach(spec: KernelSpec, rows: int, columns: int) -> tuple[int, int]:
    """Rows and columns of input under this many of output."""
    (kh, kw), (sh, sw), (dh, dw) = spec["kernel"], spec["strides"], spec["dilations"]
    return (rows - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1


def _bordered(spec: KernelSpec, tile: ChannelTile) -> bool:
    """Whether the input is copied first: into NHWC, with a border, and channels up to a whole block."""
    data, (columns, channels) = spec.operands[0], _extents(spec, tile)
    rows, width = _reach(spec, spec.out.shape[2], columns)
    exact = data.order == (0, 2, 3, 1) and not any(spec["pads"]) and channels == spec.out.shape[1]
    return not exact or rows > data.shape[2] or width > data.shape[3]


def _source(spec: KernelSpec, data: Any, tile: ChannelTile) -> Any:
    """The input read by `(n, h, w, c)`, as far as the padded extents reach."""
    from tvm import te, tirx

    if not _bordered(spec, tile):
        return lambda b, y, x, i: data(b, i, y, x)
    n, c, h, w = data.form.shape
    top, left = spec["pads"][:2]
    columns, channels = _extents(spec, tile)

    def border(b: Any, y: Any, x: Any, i: Any) -> Any:
        inside = [y >= top, y < h + top, x >= left, x < w + left] + ([i < c] if channels > c else [])
        return tirx.if_then_else(tirx.all(*inside), data(b, i, y - top, x - left), const(0, spec.dtype))

    return te.compute((n, *_reach(spec, spec.out.shape[2], columns), max(channels, c)), border, name="pad")


def _strip(spec: KernelSpec, tile: ChannelTile) -> int:
    """Output rows that share one copy of their input: as many as keep it in half of a small first-level cache."""
    rows, columns = spec.out.shape[2], _extents(spec, tile)[0]
    fitting = [
        n
        for n in range(1, rows + 1)
        if rows % n == 0 and prod(_reach(spec, n, columns)) * tile.block * 4 <= STRIP_BYTES
    ]
    return max(fitting, default=1)


def _schedule(schedule: Any, spec: KernelSpec, tile: ChannelTile) -> Any:
    main, out = schedule.get_sblock("main"), schedule.get_sblock("out")
    b, y, x, o, ry, rx = schedule.get_loops(main)
    yo, yi = schedule.split(y, [None, _strip(spec, tile)])
    xo, xi = schedule.split(x, [None, tile.rows])
    oo, oe = schedule.split(o, [None, tile.lanes])
    schedule.reorder(b, oo, yo, yi, xo, ry, rx, xi, oe)
    task = schedule.fuse(b, oo, yo)
    schedule.set_scope(main, 0, "local")
    schedule.reverse_compute_at(out, xo)
    if _bordered(spec, tile):
        pad = schedule.get_sblock("pad")
        schedule.compute_at(pad, task)
        if spec.operands[0].order[-1] == 1:
            vectorize_inner(schedule, schedule.get_loops(pad)[-1], tile.lanes)
    parallel(schedule, tile, task)
    if spec["kernel"][0] * spec["kernel"][1] <= _UNROLLED_WINDOW:
        schedule.unroll(ry)
        schedule.unroll(rx)
    schedule.unroll(xi)
    schedule.vectorize(oe)
    start = schedule.decompose_reduction(main, ry)
    *_, first, last = schedule.get_loops(start)
    schedule.unroll(first)
    schedule.vectorize(last)
    vectorize_inner(schedule, schedule.get_loops(out)[-1], tile.lanes)
    return schedule
