"""Matrix products with a constant right side: dense layers, and 1x1 convolutions over flattened positions.

Packed weights are `[O/b, I, b]`. Positions of every leading axis run as one axis of rows, padded up to the tile; rows
past the end read the last one again and are never written.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import (
    join,
    load_together,
    loads_together,
    parallel,
    placeholders,
    schedule_of,
    split,
    tail,
    to_index,
    vectorize_channels,
)
from pfir.backends.tvm.kernels.parts import add_up, parts, whole
from pfir.backends.tvm.tiles import Tile


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """`[I, O]` -> `[O/b, I, b]`, zeros where O is no multiple of b."""
    inner, out = weight.shape
    padded = np.pad(weight, ((0, 0), (0, -out % tile.block)))
    return np.ascontiguousarray(padded.reshape(inner, -1, tile.block).transpose(1, 0, 2))


def gemm(spec: KernelSpec, tile: Tile) -> Any:
    """A scheduled product; the data's last memory axis is summed, the result's holds the output channels."""
    operands = placeholders(spec)
    schedule = schedule_of(operands, _compute(spec, operands, tile))
    _flatten_rows(schedule, spec)
    return _schedule(schedule, spec, tile)


def _compute(spec: KernelSpec, operands: list[Any], tile: Tile) -> Any:
    from tvm import te, tirx

    data, weight = operands[0], operands[1]
    *leading, inner = data.form.memory
    rows, out = prod(leading), spec.out.memory[-1]
    padded_rows, padded_out = -(-rows // tile.rows) * tile.rows, -(-out // tile.block) * tile.block
    count = parts(spec.dtype, inner, 1, tile.unroll)
    k = te.reduce_axis((0, inner // count), "k")

    def element(m: Any, i: Any) -> Any:
        row = m if padded_rows == rows else tirx.min(m, rows - 1)
        return data.tensor(*split(row, leading), i)

    if loads_together(spec, tile, inner):
        element = te.compute((padded_rows, inner), element, name="cells")

    def main(m: Any, part: Any, o: Any) -> Any:
        i = part * (inner // count) + k
        return te.sum(element(m, i) * weight.tensor[o // tile.block, i, o % tile.block], axis=[k])

    sums = te.compute((padded_rows, count, padded_out), main, name="main")
    total = whole(sums, 1, count)

    def out_at(*memory: Any) -> Any:
        row = join(memory[:-1], leading)
        return tail(spec, operands, to_index(spec.out, memory), total(row, memory[-1]))

    return te.compute(spec.out.memory, out_at, name="out")


def _flatten_rows(schedule: Any, spec: KernelSpec) -> None:
    """One axis of rows in the result's block, so that it can follow tiles that straddle the leading axes."""
    from tvm.tirx import IndexMap

    leading = spec.operands[0].memory[:-1]
    flat = IndexMap.from_func(lambda *index: [join(index[:-1], leading), index[-1]], ndim=len(leading) + 1)
    schedule.transform_block_layout("out", flat)


def _schedule(schedule: Any, spec: KernelSpec, tile: Tile) -> Any:
    main, out = schedule.get_sblock("main"), schedule.get_sblock("out")
    m, part, o, k = schedule.get_loops(main)
    mo, mi = schedule.split(m, [None, tile.rows])
    oo, ov, oe = schedule.split(o, [None, tile.vectors, tile.lanes])
    ko, ki = schedule.split(k, [None, tile.unroll])
    schedule.reorder(oo, mo, part, ko, ki, mi, ov, oe)
    outer = schedule.fuse(oo, mo)
    schedule.set_scope(main, 0, "local")
    add_up(schedule, int(schedule.get(part).extent), outer, tile.lanes)
    schedule.reverse_compute_at(out, outer)
    parallel(schedule, tile, outer)
    if loads_together(spec, tile, spec.operands[0].memory[-1]):
        load_together(schedule, main, 3)
    for loop in (ki, mi, ov):
        schedule.unroll(loop)
    schedule.vectorize(oe)
    start = schedule.decompose_reduction(main, ko)
    *rest, inner = schedule.get_loops(start)[-3:]
    for loop in rest:
        schedule.unroll(loop)
    schedule.vectorize(inner)
    vectorize_channels(schedule, schedule.get_loops(out)[-1], tile.lanes, spec.out.memory[-1])
    return schedule
