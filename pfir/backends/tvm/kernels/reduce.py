"""Sums, means and extremes over whole axes, global pooling among them; sums are of float32 in any kernel."""

from __future__ import annotations

from math import prod
from typing import Any

from pfir.backends.tvm.kernels.common import as_float, parallel, placeholders, schedule_of, tail, to_index
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE


def reduce(spec: KernelSpec, tile: PlainTile) -> Any:
    """A scheduled reduction; `spec` has `kind` (sum, mean, max, min), `axes`, and the result keeps them with size 1."""
    operands = placeholders(spec)
    return _schedule(schedule_of(operands, _compute(spec, operands)), tile)


def _compute(spec: KernelSpec, operands: list[Any]) -> Any:
    from tvm import te

    data, axes = operands[0], spec["axes"]
    over = {axis: te.reduce_axis((0, data.form.shape[axis]), f"r{axis}") for axis in data.form.order if axis in axes}
    combine = {"sum": te.sum, "mean": te.sum, "max": te.max, "min": te.min}[spec["kind"]]

    def main(*memory: Any) -> Any:
        index = to_index(spec.out, memory)
        element = data(*(over.get(axis, i) for axis, i in enumerate(index)))
        element = as_float(element, SINGLE) if combine is te.sum else element
        return combine(element, axis=list(over.values()))

    total = te.compute(spec.out.memory, main, name="main")

    def finished(*memory: Any) -> Any:
        value = total(*memory)
        if spec["kind"] == "mean":
            value = value / const(prod(data.form.shape[axis] for axis in axes))
        return tail(spec, operands, to_index(spec.out, memory), value)

    return te.compute(spec.out.memory, finished, name="out")


def _schedule(schedule: Any, tile: PlainTile) -> Any:
    """Vectors along the innermost kept axis, several of them at a time; a sum over the innermost axis stays scalar."""
    main, out = schedule.get_sblock("main"), schedule.get_sblock("out")
    rank = len(schedule.get_loops(out))
    loops = schedule.get_loops(main)
    kept, over = loops[:rank], loops[rank:]
    block = min(tile.lanes * 4, int(schedule.get(kept[-1]).extent))
    inner_outer, inner = schedule.split(kept[-1], [None, block])
    schedule.reorder(*kept[:-1], inner_outer, *over, inner)
    task = schedule.fuse(*kept[:-1], inner_outer)
    schedule.reverse_compute_at(out, task)
    parallel(schedule, tile, task)
    if block > 1:
        schedule.vectorize(inner)
    start = schedule.decompose_reduction(main, over[0])
    last = schedule.get_loops(start)[-1]
    if block > 1:
        schedule.vectorize(last)
        schedule.vectorize(schedule.get_loops(out)[-1])
    return schedule
