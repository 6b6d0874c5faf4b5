"""Long sums in parts: each part is short enough for float16, and float32 adds them up."""

from __future__ import annotations

from typing import Any

from pfir.backends.tvm.kernels.common import as_float
from pfir.target import HALF, HALF_TERMS, SINGLE


def parts(dtype: str, channels: int, taps: int, unroll: int) -> int:
    """How many equal parts the sum over `channels` x `taps` is cut into: the fewest, of whole rounds of `unroll`
    channels where the whole is, of at most `HALF_TERMS`; one where the channels have no such divisor."""
    if dtype != HALF or channels * taps <= HALF_TERMS:
        return 1
    even = [n for n in range(1, channels // unroll + 1) if channels % n == 0 and channels // n % unroll == 0]
    short = [n for n in even if channels // n * taps <= HALF_TERMS]
    return min(short, default=max(even, default=1))


def whole(sums: Any, place: int, count: int) -> Any:
    """The sum over the parts, which are axis `place` of `sums`, as a stage named `total`; a single part as it is."""
    from tvm import te

    if count == 1:
        return lambda *index: sums(*index[:place], 0, *index[place:])
    part = te.reduce_axis((0, count), "part")
    shape = [size for axis, size in enumerate(sums.shape) if axis != place]

    def total(*index: Any) -> Any:
        return te.sum(as_float(sums(*index[:place], part, *index[place:]), SINGLE), axis=[part])

    return te.compute(shape, total, name="total")


def add_up(schedule: Any, count: int, outer: Any, lanes: int) -> None:
    """Put the stage `total`, if there is one, behind the parts of a register tile, in registers too."""
    if count == 1:
        return
    total = schedule.get_sblock("total")
    schedule.set_scope(total, 0, "local")
    schedule.reverse_compute_at(total, outer)
    *rows, channels, part = schedule.get_loops(total)[1:]
    vectors, lane = schedule.split(channels, [None, lanes])
    schedule.reorder(*rows, vectors, part, lane)
    for loop in (*rows, vectors, part):
        schedule.unroll(loop)
    schedule.vectorize(lane)
    start = schedule.decompose_reduction(total, part)
    schedule.vectorize(schedule.get_loops(start)[-1])
