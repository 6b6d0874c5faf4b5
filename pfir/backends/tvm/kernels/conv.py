"""Convolutions over channels-last activations: dense and grouped, any stride, dilation and padding.

Packed weights are `[G, O/b, KH, KW, I, b]` for G groups of O output and I input channels in blocks of b. Each inner
loop fills a register tile of columns by channels; the tile runs over padded extents and the tail writes what exists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import (
    load_together,
    loads_together,
    parallel,
    placeholders,
    schedule_of,
    tail,
    vectorize_channels,
    vectorize_inner,
)
from pfir.backends.tvm.kernels.parts import add_up, parts, whole
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile

FEW_CHANNELS = 4


def pack(weight: np.ndarray, group: int, tile: MatrixTile) -> np.ndarray:
    """`[G*O, I, KH, KW]` -> `[G, O/b, KH, KW, I, b]`, zeros where O is no multiple of b."""
    out, inner, kh, kw = weight.shape
    grouped = weight.reshape(group, out // group, inner, kh, kw)
    extra = -(out // group) % tile.block
    grouped = np.pad(grouped, ((0, 0), (0, extra), (0, 0), (0, 0), (0, 0)))
    blocks = grouped.reshape(group, -1, tile.block, inner, kh, kw)
    return np.ascontiguousarray(blocks.transpose(0, 1, 4, 5, 3, 2))


def conv(spec: KernelSpec, tile: MatrixTile) -> Any:
    """A scheduled convolution; `spec` has `strides`, `dilations`, `pads` (begin), `group`, and for a transposed
    convolution `spread`: zeros are put between the input's rows and columns first."""
    operands = placeholders(spec)
    return _schedule(schedule_of(operands, _compute(spec, operands, tile)), spec, tile)


def _compute(spec: KernelSpec, operands: list[Any], tile: MatrixTile) -> Any:
    from tvm import te

    data, weight = operands[0], operands[1]
    groups, _, kh, kw, inner, block = weight.form.shape
    n, out, oh, ow = spec.out.shape[0], spec.out.shape[1] // groups, *_spatial(spec)
    (sh, sw), (dh, dw) = spec["strides"], spec["dilations"]
    columns, channels = -(-ow // tile.rows) * tile.rows, -(-out // block) * block
    source, count = _source(spec, data, tile), parts(spec.dtype, inner, kh * kw, tile.unroll)
    source = _cells(spec, source, tile) if _together(spec, tile) else source
    sizes = ((kh, "ry"), (kw, "rx"), (inner // count, "rc"))
    ry, rx, rc = (te.reduce_axis((0, size), name) for size, name in sizes)

    def main(b: Any, g: Any, y: Any, x: Any, part: Any, o: Any) -> Any:
        i = part * (inner // count) + rc
        pixel = source(b, g * inner + i, y * sh + ry * dh, x * sw + rx * dw)
        return te.sum(pixel * weight.tensor[g, o // block, ry, rx, i, o % block], axis=[ry, rx, rc])

    sums = te.compute((n, groups, oh, columns, count, channels), main, name="main")
    total = whole(sums, 4, count)
    if groups == 1:
        shape = spec.out.memory
        return te.compute(
            shape, lambda b, y, x, o: tail(spec, operands, (b, o, y, x), total(b, 0, y, x, o)), name="out"
        )
    return te.compute(
        (n, oh, ow, groups, out),
        lambda b, y, x, g, o: tail(spec, operands, (b, g * out + o, y, x), total(b, g, y, x, o)),
        name="out",
    )


def _spatial(spec: KernelSpec) -> tuple[int, int]:
    return spec.out.shape[2], spec.out.shape[3]


def _reach(spec: KernelSpec, tile: MatrixTile) -> tuple[int, int]:
    """Rows and columns of the bordered input that the padded extents read."""
    oh, ow = _spatial(spec)
    kh, kw = spec.operands[1].shape[2:4]
    columns = -(-ow // tile.rows) * tile.rows
    (sh, sw), (dh, dw) = spec["strides"], spec["dilations"]
    return (oh - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1


def _bordered(spec: KernelSpec, tile: MatrixTile) -> bool:
    """Whether the input is copied first, with zeros around and between."""
    data, (rows, columns) = spec.operands[0], _reach(spec, tile)
    if data.order != (0, 2, 3, 1) or any(spec["pads"]) or spec["spread"] != (1, 1) or rows > data.shape[2]:
        return True
    return columns > data.shape[3] and spec.operands[1].shape[2:4] != (1, 1)


def _source(spec: KernelSpec, data: Any, tile: MatrixTile) -> Any:
    """The input with its border, read by `(n, c, h, w)`."""
    from tvm import te, tirx

    n, c, h, w = data.form.shape
    (top, left), (vh, vw), reach = spec["pads"], spec["spread"], _reach(spec, tile)
    if not _bordered(spec, tile):
        return data if reach[1] <= w else lambda b, i, y, x: data(b, i, y, tirx.min(x, w - 1))

    def border(b: Any, y: Any, x: Any, i: Any) -> Any:
        yy, xx = y - top, x - left
        inside = [yy >= 0, yy <= (h - 1) * vh, xx >= 0, xx <= (w - 1) * vw]
        inside += [tirx.floormod(yy, vh) == 0] if vh > 1 else []
        inside += [tirx.floormod(xx, vw) == 0] if vw > 1 else []
        return tirx.if_then_else(tirx.all(*inside), data(b, i, yy // vh, xx // vw), const(0, spec.dtype))

    if data.form.order == (0, 1, 2, 3):
        padded = te.compute((n, c, *reach), lambda b, i, y, x: border(b, y, x, i), name="pad")
        return lambda b, i, y, x: padded[b, i, y, x]
    padded = te.compute((n, *reach, c), border, name="pad")
    return lambda b, i, y, x: padded[b, y, x, i]


def _together(spec: KernelSpec, tile: MatrixTile) -> bool:
    return spec.operands[0].order[-1] == 1 and loads_together(spec, tile, spec.operands[1].shape[4])


def _cells(spec: KernelSpec, source: Any, tile: MatrixTile) -> Any:
    """The same values as a stage of its own."""
    from tvm import te

    n, c, _, _ = spec.operands[0].shape
    cells = te.compute((n, *_reach(spec, tile), c), lambda b, y, x, i: source(b, i, y, x), name="cells")
    return lambda b, i, y, x: cells(b, y, x, i)


def _schedule(schedule: Any, spec: KernelSpec, tile: MatrixTile) -> Any:
    main, out = schedule.get_sblock("main"), schedule.get_sblock("out")
    b, g, y, x, part, o, ry, rx, rc = schedule.get_loops(main)
    xo, xi = schedule.split(x, [None, tile.rows])
    oo, ov, oe = schedule.split(o, [None, tile.vectors, tile.lanes])
    co, ci = schedule.split(rc, [None, tile.unroll])
    schedule.reorder(b, g, oo, y, xo, part, ry, rx, co, ci, xi, ov, oe)
    outer = schedule.fuse(b, g, oo, y, xo)
    schedule.set_scope(main, 0, "local")
    add_up(schedule, int(schedule.get(part).extent), outer, tile.lanes)
    schedule.reverse_compute_at(out, outer)
    parallel(schedule, tile, outer)
    if _together(spec, tile):
        load_together(schedule, main, 5)
    few = spec.operands[1].shape[4] <= FEW_CHANNELS
    for loop in (rx, ci, xi, ov) if few else (ci, xi, ov):
        schedule.unroll(loop)
    schedule.vectorize(oe)
    start = schedule.decompose_reduction(main, ry)
    _unroll_tile(schedule, start, 3)
    channels = spec.out.shape[1] // spec["group"]
    vectorize_channels(schedule, schedule.get_loops(out)[-1], tile.lanes, channels)
    if _bordered(spec, tile):
        _schedule_pad(schedule, spec, tile)
    return schedule


def _unroll_tile(schedule: Any, block: Any, depth: int) -> None:
    """Unroll all but the innermost of the last `depth` loops, and vectorise that one."""
    *rest, last = schedule.get_loops(block)[-depth:]
    for loop in rest:
        schedule.unroll(loop)
    schedule.vectorize(last)


def _schedule_pad(schedule: Any, spec: KernelSpec, tile: MatrixTile) -> None:
    """Vectors along the channels; along rows of all channels or of one where those are too few for a vector."""
    pad, data = schedule.get_sblock("pad"), spec.operands[0]
    loops = schedule.get_loops(pad)
    if data.order == (0, 2, 3, 1) and data.shape[1] >= tile.lanes:
        vectorize_inner(schedule, loops[-1], tile.lanes)
        parallel(schedule, tile, schedule.fuse(*loops[:2]))
        return
    if data.order not in ((0, 1, 2, 3), (0, 2, 3, 1)) or not _surrounded(spec, tile):
        parallel(schedule, tile, schedule.fuse(*loops[:2]))
        return
    zeros = schedule.decompose_padding(pad, loops[0])  # without a condition inside, what remains is a plain copy
    for block in (zeros, pad):
        *_, x, c = schedule.get_loops(block)
        vectorize_inner(schedule, schedule.fuse(x, c) if data.order[-1] == 1 else c, tile.lanes)


def _surrounded(spec: KernelSpec, tile: MatrixTile) -> bool:
    """Whether there is a border of zeros, and zeros nowhere else."""
    _, _, h, w = spec.operands[0].shape
    rows, columns = _reach(spec, tile)
    return spec["spread"] == (1, 1) and (any(spec["pads"]) or rows > h or columns > w)
